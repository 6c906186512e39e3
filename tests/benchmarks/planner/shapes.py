"""The shape of a model from the short form that the cases use."""

import re
from typing import Any

from fsft.recipes.models.shape import (
    Attention,
    Experts,
    FeedForward,
    Latent,
    Layer,
    Linear,
    ModelShape,
    Norm,
    Stack,
    Vision,
)

NUM_PATCHES = 577
"""Of an image of 336 × 336 pixels in patches of 14 × 14, and the class."""


def shape_of(config: dict[str, Any], *, dropout: float = 0.0) -> ModelShape:
    """`config` has hidden, layers, heads, kv_heads, ffn, vocab, and what differs from Llama."""
    hidden = config["hidden"]
    plain = "2mat" in config.get("mlp", "")
    bias = "bias" in config.get("mlp", "")
    is_layer_norm = config.get("norm") == "LayerNorm"
    norm = Norm(hidden, "layer" if is_layer_norm else "rms", bias=bias)
    attention = _attention(config, hidden, bias)

    def block(width: int) -> FeedForward:
        activation = "gelu" if plain else "silu"
        return FeedForward(hidden, width, gated=not plain, bias=bias, activation=activation)

    dense = Layer(attention, block(config["ffn"]), (norm, norm), dropout=dropout)
    layers: tuple[tuple[Layer, int], ...] = ((dense, config["layers"]),)
    if moe := config.get("moe"):
        shared = moe.get("shared_ffn") or (moe.get("shared_experts") or 0) * moe["moe_ffn"]
        experts = Experts(
            block(moe["moe_ffn"]),
            moe["experts"],
            moe["top_k"],
            hidden * moe["experts"],
            block(shared) if shared else None,
        )
        first = moe.get("first_dense_layers", 0)
        sparse = Layer(attention, experts, (norm, norm), dropout=dropout)
        # Layers that predict further tokens are like the last ones.
        more = config.get("mtp_layers") or 0
        layers = ((dense, first), (sparse, config["layers"] - first + more))
        layers = tuple(pair for pair in layers if pair[1])
    positions = re.search(r"\d+", str(config.get("pos", "")))
    return ModelShape(
        architecture="case",
        hidden=hidden,
        vocab_size=config.get("vocab") or 50304,
        stack=Stack(layers),
        final_norms=(norm,),
        tied=bool(config.get("tied_embeddings")),
        max_positions=None,
        num_position_parameters=int(positions[0]) * hidden if positions else 0,
        vision=_tower(config, dense),
    )


def _tower(config: dict[str, Any], layer: Layer) -> Vision | None:
    """The vision tower of Megatron's pretrain_vlm.py: as many layers as the language model's.

    They are copies of its configuration, in spite of the name CLIP (pretrain_vlm.py@d98e8a6); the
    memory that its tests report before the first step leaves no room for ViT-L.
    """
    if "pretrain_vlm" not in str(config.get("vision")):
        return None
    width = config["hidden"]
    return Vision(
        Stack(((layer, config["layers"]),)),
        hidden=width,
        patch_size=14,
        merge=1,
        num_other_parameters=width * (3 * 14 * 14 + NUM_PATCHES + 1) + 2 * 2 * width,
        num_projector_parameters=2 * width * config["ffn"] + config["ffn"] + width,
        projector_input=width,
    )


def _attention(config: dict[str, Any], hidden: int, bias: bool) -> Attention:
    heads, kv_heads = config["heads"], config.get("kv_heads") or config["heads"]
    if mla := config.get("mla"):
        return _latent_attention(mla, hidden, heads)
    width = config.get("head_dim") or hidden // heads
    with_bias = bias or bool(config.get("qkv_bias"))
    return Attention(
        hidden,
        heads,
        kv_heads,
        width,
        linears=(
            Linear("q", hidden, heads * width, with_bias),
            Linear("k", hidden, kv_heads * width, with_bias),
            Linear("v", hidden, kv_heads * width, with_bias),
            Linear("o", heads * width, hidden, bias),
        ),
    )


def _latent_attention(mla: dict[str, Any], hidden: int, heads: int) -> Attention:
    nope, rope, value = mla["qk_nope"], mla["qk_rope"], mla["v_head_dim"]
    rank, q_rank = mla["kv_lora_rank"], mla.get("q_lora_rank")
    queries = (
        (Linear("q_a", hidden, q_rank), Linear("q_b", q_rank, heads * (nope + rope)))
        if q_rank
        else (Linear("q", hidden, heads * (nope + rope)),)
    )
    return Attention(
        hidden,
        heads,
        heads,
        nope + rope,
        value_width=value,
        linears=(
            *queries,
            Linear("kv_a", hidden, rank + rope),
            Linear("kv_b", rank, heads * (nope + value)),
            Linear("o", heads * value, hidden),
        ),
        norms=(Norm(rank), *((Norm(q_rank),) if q_rank else ())),
        latent=Latent(rank, rope, q_rank),
    )

"""DeepSeek-V2 and V3: latent attention, first layers dense, shared experts in all others."""

from dataclasses import dataclass

from fsft.recipes.models.families.blocks import ACTIVATIONS, stack_of
from fsft.recipes.models.families.moe import experts_per_token
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import (
    Attention,
    Experts,
    FeedForward,
    Latent,
    Layer,
    Linear,
    ModelShape,
    Norm,
)


def read_deepseek_v2(fields: Fields) -> ModelShape:
    """DeepSeek-V2 and V2-Lite."""
    return _read(fields, V2)


def read_deepseek_v3(fields: Fields) -> ModelShape:
    """DeepSeek-V3, R1 and Moonlight, without the layers that predict further tokens.

    The router's correction bias is a buffer, no parameter.
    """
    return _read(fields, V3)


@dataclass(frozen=True)
class _Generation:
    """The config class's defaults, as transformers has them."""

    architecture: str
    vocab_size: int
    hidden: int
    width: int
    depth: int
    num_heads: int
    max_positions: int
    num_experts: int
    num_shared: int
    top_k: int | None
    expert_width: int
    first_dense: int
    feed_forward_bias: bool
    """The config has a key for it."""


V2 = _Generation("deepseek_v2", 102_400, 4096, 11_008, 32, 32, 2048, 64, 2, None, 1407, 0, True)
V3 = _Generation("deepseek_v3", 129_280, 7168, 18_432, 61, 128, 4096, 256, 1, 8, 2048, 3, False)


def _read(fields: Fields, generation: _Generation) -> ModelShape:
    hidden = fields.size("hidden_size", generation.hidden)
    depth = fields.depth("num_hidden_layers", generation.depth)
    attention = _attention(fields, hidden, generation.num_heads)
    activation = fields.choice("hidden_act", "silu", ACTIVATIONS)
    bias = generation.feed_forward_bias and fields.flag("mlp_bias", False)
    width = fields.size("moe_intermediate_size", generation.expert_width)
    num_experts = fields.size("n_routed_experts", generation.num_experts)
    num_shared = fields.size("n_shared_experts", generation.num_shared)
    dense_width = fields.size("intermediate_size", generation.width)
    dense = FeedForward(hidden, dense_width, bias=bias, activation=activation)
    sparse = Experts(
        FeedForward(hidden, width, activation=activation, fused=True),
        num_experts,
        experts_per_token(fields, num_experts, generation.top_k),
        hidden * num_experts,
        FeedForward(hidden, width * num_shared, bias=bias, activation=activation),
    )
    first = fields.count("first_k_dense_replace", generation.first_dense)
    norm = Norm(hidden)
    return ModelShape(
        architecture=generation.architecture,
        hidden=hidden,
        vocab_size=fields.size("vocab_size", generation.vocab_size),
        stack=stack_of(
            Layer(attention, dense if index < first else sparse, (norm, norm))
            for index in range(depth)
        ),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.size("max_position_embeddings", generation.max_positions),
    )


def _attention(fields: Fields, hidden: int, default_heads: int) -> Attention:
    heads = fields.size("num_attention_heads", default_heads)
    nope = fields.size("qk_nope_head_dim", 128)
    rope = fields.size("qk_rope_head_dim", 64)
    value = fields.size("v_head_dim", 128)
    rank = fields.size("kv_lora_rank", 512)
    q_rank = fields.size_or_null("q_lora_rank", 1536)
    bias = fields.flag("attention_bias", False)
    if q_rank:
        queries: tuple[Linear, ...] = (
            Linear("q_a", hidden, q_rank, bias),
            Linear("q_b", q_rank, heads * (nope + rope)),
        )
    else:
        queries = (Linear("q", hidden, heads * (nope + rope)),)
    return Attention(
        hidden,
        heads,
        heads,
        nope + rope,
        value_width=value,
        linears=(
            *queries,
            Linear("kv_a", hidden, rank + rope, bias),
            Linear("kv_b", rank, heads * (nope + value)),
            Linear("o", heads * value, hidden, bias),
        ),
        norms=(*((Norm(q_rank),) if q_rank else ()), Norm(rank)),
        latent=Latent(rank, rope, q_rank),
        dropout=fields.dropout("attention_dropout"),
    )

"""What is built like Llama: RMSNorm, gated feed-forward, grouped queries, rotary positions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fsft.recipes.models.families.blocks import (
    ACTIVATIONS,
    fused_attention,
    head_width,
    heads_of,
    separate_attention,
    stack_of,
    windows,
)
from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import (
    Activation,
    Attention,
    Experts,
    FeedForward,
    Layer,
    ModelShape,
    Norm,
)


@dataclass(frozen=True)
class Variant:
    """What a family does differently, and the defaults of its config class; None: no default."""

    architecture: str
    vocab_size: int | None = None
    hidden: int | None = None
    width: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    """None: as many as heads."""
    head_dim: int | None = None
    """None: the hidden size divided by the heads."""
    max_positions: int | None = None
    positions_key: str = "max_position_embeddings"
    tied: bool = False
    qkv_bias: bool = False
    """Queries, keys and values have biases, the output projection has none."""
    qkv_bias_key: str = ""
    bias: bool = False
    bias_key: str = ""
    """The key that gives biases to all four projections."""
    bias_key_also: str = ""
    feed_forward_bias_key: str = ""
    feed_forward_bias_key_also: str = ""
    activation: str = "silu"
    activation_key: str = "hidden_act"
    gelu_is_tanh: bool = False
    """Old configs say "gelu" and mean its tanh approximation."""
    fused_qkv: bool = False
    fused_gate: bool = False
    num_norms: int = 2
    float32_norms: bool = False
    """Norms apply their weight in float32."""
    concatenates: bool = False
    soft_caps: bool = False
    """Attention scores and logits go through a tanh, if the config gives its height."""
    head_norms: bool = False
    """Every head of queries and keys is normalized."""
    rotary: bool = True
    rotary_share: float = 1.0
    """Of a head's width, what positions turn, unless the config says."""
    windowed: Literal["never", "always", "late", "odd", "pattern"] = "never"
    """Which layers have a window, if the config gives one: from layer `max_window_layers` on,
    every second from the first on, all but every n-th."""
    window: int | None = None
    window_switch: str = "use_sliding_window"
    """The flag without which "late" and "odd" have no windows; "" where there is no such flag."""
    max_window_layers: int = 0
    layer_dropout_key: str = ""
    embedding_dropout_key: str = ""


CAPPED_SCORE_BYTES = 8.0
"""tanh of the scores, the softmax in float32, and its copy in the computing type."""
Block = FeedForward | Experts
Blocks = Callable[[Fields, int, int, Activation], Sequence[Block]]
"""The feed-forward blocks of all layers, from hidden size and depth."""


def read_like_llama(fields: Fields, variant: Variant, blocks: Blocks | None = None) -> ModelShape:
    """The shape of a model of `variant`; `blocks` are plain feed-forward unless given."""
    hidden = fields.size("hidden_size", variant.hidden)
    depth = fields.depth("num_hidden_layers", variant.depth)
    activation = fields.choice(variant.activation_key, variant.activation, ACTIVATIONS)
    if variant.gelu_is_tanh and activation == "gelu":
        activation = "gelu_tanh"
    if blocks is None:
        feed_forwards: Sequence[Block] = (_plain(fields, variant, hidden, activation),) * depth
    else:
        feed_forwards = blocks(fields, hidden, depth, activation)
    norm = Norm(hidden, float32_weight=variant.float32_norms)
    dropout = fields.dropout(variant.layer_dropout_key) if variant.layer_dropout_key else 0.0
    attentions = _attentions(fields, variant, hidden, depth)
    layers = [
        Layer(attention, block, (norm,) * variant.num_norms, dropout=dropout)
        for attention, block in zip(attentions, feed_forwards, strict=True)
    ]
    embedding = variant.embedding_dropout_key
    return ModelShape(
        architecture=variant.architecture,
        hidden=hidden,
        vocab_size=fields.size("vocab_size", variant.vocab_size),
        stack=stack_of(layers),
        final_norms=(norm,),
        tied=fields.flag("tie_word_embeddings", variant.tied),
        max_positions=fields.size(variant.positions_key, variant.max_positions),
        embedding_dropout=fields.dropout(embedding) if embedding else 0.0,
        caps_logits=variant.soft_caps and not fields.is_null("final_logit_softcapping"),
    )


def feed_forward_bias(fields: Fields, variant: Variant) -> bool:
    """Whether the feed-forward matrices have biases."""
    key = variant.feed_forward_bias_key
    return bool(key) and fields.flag(key, variant.bias, also=variant.feed_forward_bias_key_also)


def _plain(fields: Fields, variant: Variant, hidden: int, activation: Activation) -> FeedForward:
    return FeedForward(
        hidden,
        fields.size("intermediate_size", variant.width),
        bias=feed_forward_bias(fields, variant),
        activation=activation,
        fused=variant.fused_gate,
    )


def _attentions(fields: Fields, variant: Variant, hidden: int, depth: int) -> tuple[Attention, ...]:
    num_heads = fields.size("num_attention_heads", variant.num_heads)
    kv_heads = heads_of(
        fields, num_heads, fields.size_or_null("num_key_value_heads", variant.num_kv_heads)
    )
    width = head_width(fields, hidden, num_heads, fields.size_or_null("head_dim", variant.head_dim))
    bias = variant.bias
    if variant.bias_key:
        bias = fields.flag(variant.bias_key, variant.bias, also=variant.bias_key_also)
    qkv_bias = variant.qkv_bias
    if variant.qkv_bias_key:
        qkv_bias = fields.flag(variant.qkv_bias_key, variant.qkv_bias)
    dropout = fields.dropout("attention_dropout")
    head_norm = Norm(width, float32_weight=variant.float32_norms)
    head_norms = (head_norm, head_norm) if variant.head_norms else ()
    has_caps = variant.soft_caps and not fields.is_null("attn_logit_softcapping")
    share = fields.ratio("partial_rotary_factor", variant.rotary_share, least=0.0, most=1.0)
    build = fused_attention if variant.fused_qkv else separate_attention

    def attention(window: int | None) -> Attention:
        built = build(
            hidden,
            num_heads,
            kv_heads,
            width,
            bias=bias or qkv_bias,
            output_bias=bias,
            norms=head_norms,
            window=window,
            rotary=variant.rotary,
            dropout=dropout,
        )
        scores = CAPPED_SCORE_BYTES if has_caps else 0.0
        return replace(
            built,
            concatenates=variant.concatenates,
            rotary_share=share,
            score_bytes=scores,
        )

    return tuple(attention(window) for window in _windows(fields, variant, depth))


def _windows(fields: Fields, variant: Variant, depth: int) -> tuple[int | None, ...]:
    """The window of every layer."""
    if variant.windowed == "never":
        return (None,) * depth
    # Switched off, saved configs have a window of 0.
    if variant.window_switch and not fields.flag(variant.window_switch, False):
        return (None,) * depth
    window = fields.size_or_null("sliding_window", variant.window)
    if variant.windowed == "always":
        return (window,) * depth
    end = fields.count("max_window_layers", variant.max_window_layers)
    if variant.windowed == "late":
        slides = [index >= end for index in range(depth)]
    elif variant.windowed == "odd":
        slides = [index % 2 == 0 and (not end or index < end) for index in range(depth)]
    else:
        every = fields.size("sliding_window_pattern", 6)
        slides = [(index + 1) % every != 0 for index in range(depth)]
    return windows(fields, depth, window, slides=slides)

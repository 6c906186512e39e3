"""Parts that many families are made of."""

from collections.abc import Iterable
from itertools import groupby

from fsft.recipes.models.fields import Fields
from fsft.recipes.models.shape import Activation, Attention, Layer, Linear, Norm, Stack

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_new",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}
"""transformers' names of nonlinearities."""


def stack_of(layers: Iterable[Layer]) -> Stack:
    """Layers from first to last; equal neighbours are counted together."""
    return Stack(tuple((layer, len(list(same))) for layer, same in groupby(layers)))


def layer_norm(width: int, *, bias: bool = True, affine: bool = True) -> Norm:
    """A LayerNorm with the usual bias."""
    return Norm(width, "layer", bias=bias, affine=affine)


def heads_of(
    fields: Fields,
    num_heads: int,
    num_kv_heads: int | None,
    *,
    heads_key: str = "num_attention_heads",
    kv_key: str = "num_key_value_heads",
) -> int:
    """The number of key/value heads; each serves as many query heads as the others."""
    kv_heads = num_kv_heads or num_heads
    fields.part(num_heads, kv_heads, of=heads_key, by=kv_key)
    return kv_heads


def head_width(fields: Fields, hidden: int, num_heads: int, given: int | None = None) -> int:
    """`head_dim` where the config gives it, else the part of `hidden` that each head gets."""
    return given or fields.part(hidden, num_heads, of="hidden_size", by="num_attention_heads")


def separate_attention(
    hidden: int,
    num_heads: int,
    num_kv_heads: int,
    width: int,
    *,
    bias: bool = False,
    output_bias: bool = False,
    norms: tuple[Norm, ...] = (),
    window: int | None = None,
    rotary: bool = True,
    dropout: float = 0.0,
) -> Attention:
    """Attention with a matrix each for queries, keys, values and output."""
    return Attention(
        hidden,
        num_heads,
        num_kv_heads,
        width,
        linears=(
            Linear("q", hidden, num_heads * width, bias),
            Linear("k", hidden, num_kv_heads * width, bias),
            Linear("v", hidden, num_kv_heads * width, bias),
            Linear("o", num_heads * width, hidden, output_bias),
        ),
        norms=norms,
        rotary=rotary,
        window=window,
        dropout=dropout,
    )


def fused_attention(
    hidden: int,
    num_heads: int,
    num_kv_heads: int,
    width: int,
    *,
    bias: bool = False,
    output_bias: bool = False,
    norms: tuple[Norm, ...] = (),
    window: int | None = None,
    rotary: bool = True,
    dropout: float = 0.0,
) -> Attention:
    """Attention with one matrix for queries, keys and values together."""
    return Attention(
        hidden,
        num_heads,
        num_kv_heads,
        width,
        linears=(
            Linear("qkv", hidden, (num_heads + 2 * num_kv_heads) * width, bias),
            Linear("o", num_heads * width, hidden, output_bias),
        ),
        norms=norms,
        rotary=rotary,
        window=window,
        dropout=dropout,
    )


def windows(
    fields: Fields, depth: int, window: int | None, *, slides: Iterable[bool]
) -> tuple[int | None, ...]:
    """The window of every layer: as `layer_types` says, else where `slides` is true."""
    types = fields.texts("layer_types", depth)
    if types is None:
        return tuple(window if slide else None for slide in slides)
    return tuple(window if name == "sliding_attention" else None for name in types)

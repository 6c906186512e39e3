"""Bytes that forward leaves behind for backward, per token and layer.

Every formula counts the tensors that an operation's backward needs, in the type they are kept in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fsft.recipes.models.shape import Attention, Experts, FeedForward, Layer, Linear, Norm
from fsft.recipes.planner.layout import Checkpointing
from fsft.recipes.planner.method import FULL, Method
from fsft.recipes.planner.style import Style

MASK_BYTES = 1.0
"""Dropout keeps which elements it let through."""


KEPT_BY_ACTIVATION = {
    # relu needs its output alone, which the next product keeps anyway.
    "relu": 0.0,
    # Its input, and the sigmoid.
    "quick_gelu": 2.0,
    # Input, half of it, tanh, and one more than tanh, each a tensor of its own.
    "gelu_new": 4.0,
}
"""Tensors as wide as its input that a nonlinearity keeps, its output not counted; most keep one."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Bytes per token: `split` is divided by the tensor parallel degree, `replicated` is not."""

    replicated: float
    split: float

    def __add__(self, other: "Saved") -> "Saved":
        """Both."""
        return Saved(self.replicated + other.replicated, self.split + other.split)

    def __mul__(self, factor: float) -> "Saved":
        """That many of them."""
        return Saved(self.replicated * factor, self.split * factor)

    @property
    def on_all(self) -> "Saved":
        """The same where nothing is divided."""
        return Saved(self.replicated + self.split, 0.0)

    def on_one_of(self, tensor: int, *, all_split: bool = False) -> float:
        """Bytes per token on one of `tensor` ranks."""
        if all_split:
            return (self.replicated + self.split) / tensor
        return self.replicated + self.split / tensor


NOTHING = Saved(0.0, 0.0)


@lru_cache(maxsize=4096)
def saved_by_layer(
    layer: Layer, style: Style, method: Method = FULL, checkpointing: Checkpointing = "none"
) -> Saved:
    """Bytes per token that one layer keeps from its forward to its backward.

    With "full" that is the layer's input. With "selective" the outputs of every second matrix
    multiplication and of attention are kept besides.
    """
    boundary = Saved(style.compute_bytes * layer.attention.hidden, 0.0)
    if checkpointing == "full":
        return boundary
    if checkpointing == "selective":
        return boundary + _selected(layer, style)
    saved = _attention(layer.attention, style, method)
    if "attention" in layer.whole:
        saved = saved.on_all
    if layer.cross_attention:
        saved += _attention(layer.cross_attention, style, method)
    block = layer.feed_forward
    if isinstance(block, Experts):
        saved += _experts(block, style, method)
    else:
        inside = _feed_forward(block, style, method)
        saved += inside.on_all if "feed-forward" in layer.whole else inside
    for norm in layer.norms:
        saved += _norm(norm, style, method)
    if layer.parallel:
        saved += Saved(-style.compute_bytes * layer.attention.hidden, 0.0)
    share = 0.5 if layer.is_half else 1.0
    if layer.dropout:
        saved += Saved(share * 2 * MASK_BYTES * layer.attention.hidden, 0.0)
    return saved + Saved(0.0, share * style.other_bytes_per_width * layer.attention.hidden)


@lru_cache(maxsize=4096)
def working_set(layer: Layer, style: Style, method: Method = FULL) -> Saved:
    """Bytes per token while one layer is computed again and its gradients flow.

    All that the layer keeps without checkpointing, and the gradients of its widest place.
    """
    block = layer.feed_forward
    width = block.expert.width * block.top_k if isinstance(block, Experts) else block.width
    if not layer.has_feed_forward:
        width = layer.attention.query_size
    gradients = Saved(
        2 * style.compute_bytes * layer.attention.hidden, 2 * style.compute_bytes * width
    )
    if "feed-forward" in layer.whole:
        gradients = gradients.on_all
    return saved_by_layer(layer, style, method) + gradients


def norm_bytes(norm: Norm, style: Style, method: Method) -> float:
    """Bytes per token that a norm outside the layers keeps."""
    return _norm(norm, style, method).replicated


def _norm(norm: Norm, style: Style, method: Method) -> Saved:
    """What the norm keeps; what it gives is counted where it is used."""
    if norm.kind == "layer" or style.norm == "fused":
        return Saved(style.compute_bytes * norm.width + 8, 0.0)
    # The float32 copy of the input, its inverse root, and what the weight's gradient needs.
    byte = 4.0 if norm.float32_weight else style.compute_bytes
    # A weight in float32 is 1 + w, itself computed: its gradient is needed though w is frozen.
    weight = 0.0 if method.freezes and not norm.float32_weight else byte * norm.width
    return Saved(4.0 * norm.width + 4 + weight, 0.0)


def _input_of(
    linears: tuple[Linear, ...], style: Style, method: Method, *, at_hand: bool = False
) -> float:
    """Bytes that linears which read the same tensor keep of it.

    `at_hand` says that something else keeps that tensor anyway.
    """
    width = linears[0].inputs
    kept = 0.0
    if not at_hand and (not method.freezes or method.type == "qlora"):
        # bitsandbytes keeps the input of a quantized product although its weight is frozen.
        kept += style.compute_bytes * width
    for linear in linears:
        if method.adapts(linear):
            # The input, dropped out or in the adapter's type, is a copy of its own.
            if method.dropout or method.adapter_bytes != style.compute_bytes:
                kept += method.adapter_bytes * width
            kept += MASK_BYTES * width if method.dropout else 0.0
            kept += 2 * method.adapter_bytes * method.rank
    return kept


def _attention(attention: Attention, style: Style, method: Method) -> Saved:
    if not attention.linears:
        return NOTHING
    *inner, output = attention.linears
    byte = style.compute_bytes
    replicated = 0.0
    # Latent attention goes through bottlenecks; what reads the same tensor keeps it once.
    for width in {part.inputs for part in inner}:
        readers = tuple(part for part in inner if part.inputs == width)
        replicated += _input_of(readers, style, method)
    queries, keys, values = attention.query_size, attention.key_size, attention.value_size
    split = byte * (queries + keys + values)
    views_stay = "qkv" in {part.name for part in inner} and attention.rotary
    if style.fused_linears or (views_stay and not attention.copies_values):
        # Values are a view of the one product, beside rotated copies of queries and keys.
        split += byte * (queries + keys)
    if _score_bytes(attention, style):
        split += _repeated(attention, style)
        split += _input_of((output,), style, method)
    else:
        if byte == 4:
            # Kernels for float32 know no groups of heads.
            split += _repeated(attention, style)
        # The kernel's output and the logarithm of each row's sum.
        split += byte * attention.output_size + 4.0 * attention.num_heads
        is_copied = style.copies_attention_output or attention.concatenates
        split += _input_of((output,), style, method, at_hand=not is_copied)
    for norm, width in zip(attention.norms, (queries, keys), strict=False):
        each = _norm(norm, style, method).replicated / norm.width
        split += each * (width if norm.width == attention.head_width else norm.width)
    return Saved(replicated, split)


def mask_bytes(layers: Sequence[Layer], style: Style, length: int) -> float:
    """Bytes per token of each sequence's own masks, kept by checkpointed layers to compute again.

    One for layers with a window and one for those without: a byte for each pair of tokens, or an
    element where it is added to scores.
    """
    windows = [layer.attention.window for layer in layers]
    if style.attention == "masked":
        return MASK_BYTES * len({bool(window and length > window) for window in windows}) * length
    kinds = {
        layer.attention.window is None
        for layer in layers
        if _score_bytes(layer.attention, style) and not layer.attention.masked
    }
    return style.compute_bytes * len(kinds) * length


def shared_mask_bytes(layers: Iterable[Layer], style: Style, length: int) -> float:
    """The same of masks that all sequences of a micro batch share, in bytes: one for each pair."""
    kinds = set()
    for layer in layers if style.attention == "fused" else ():
        attention = layer.attention
        is_long = bool(attention.window and length > attention.window)
        if attention.masked or (is_long and not attention.score_bytes and style.masks_windows):
            kinds.add(is_long)
    return MASK_BYTES * len(kinds) * length**2


def _score_bytes(attention: Attention, style: Style) -> float:
    """Kept for each score: the softmax in float32, and its copy where computing is in less."""
    if attention.score_bytes or style.attention != "scores":
        return attention.score_bytes
    return 4.0 if style.compute_bytes == 4 else 4.0 + style.compute_bytes


def _repeated(attention: Attention, style: Style) -> float:
    """Keys and values repeated for every head, beside or in the place of themselves."""
    if attention.num_heads == attention.num_kv_heads:
        return 0.0
    repeated = attention.query_size + attention.output_size
    return style.compute_bytes * (repeated - attention.key_size - attention.value_size)


SCORE_GRADIENT_BYTES = 6.0
"""The softmax's gradient in float32, and the scores' in the computing type, for one score."""


def score_gradient_bytes(attention: Attention, style: Style, length: int) -> float:
    """Bytes per token of the gradients of scores that are computed one by one."""
    scores = attention.num_heads * length if _score_bytes(attention, style) else 0
    return SCORE_GRADIENT_BYTES * scores


def pair_bytes(attention: Attention, style: Style, length: int) -> float:
    """Bytes per token that grow with the length of its sequence: scores, or a mask.

    With a mask, also what repeated keys and values take more.
    """
    if not attention.num_heads:
        return 0.0
    if scores := _score_bytes(attention, style):
        return scores * attention.num_heads * length
    if attention.masked:
        return style.compute_bytes * length
    is_long = attention.window and length > attention.window and style.masks_windows
    if is_long:
        return style.compute_bytes * length + _repeated(attention, style)
    return 0.0


def _feed_forward(block: FeedForward, style: Style, method: Method) -> Saved:
    if not block.width:
        return NOTHING
    byte = style.compute_bytes
    *ups, down = block.linears
    replicated = _input_of(tuple(ups), style, method)
    if block.gated:
        kept = 3.0 if style.gated == "eager" else 2.0
    else:
        kept = KEPT_BY_ACTIVATION.get(block.activation, 1.0) if style.activation_kept else 0.0
    split = kept * byte * block.width + _input_of((down,), style, method)
    return Saved(replicated, split)


def _experts(block: Experts, style: Style, method: Method) -> Saved:
    """Tokens go to their experts in copies, and come back to be weighted."""
    byte = style.compute_bytes
    routed = _feed_forward(block.expert, style, method) * block.top_k
    returned = Saved(byte * block.top_k * block.hidden, 0.0)
    router = Saved(byte * block.hidden + 4.0 * 2 * block.num_experts, 0.0)
    shared = _feed_forward(block.shared, style, method) if block.shared else NOTHING
    return routed + returned + router + shared


def _selected(layer: Layer, style: Style) -> Saved:
    """Outputs of the 1st, 3rd, 5th … matrix multiplication, and of fused attention."""
    block, attention = layer.feed_forward, layer.attention
    products = [(linear, 1) for linear in attention.linears]
    if isinstance(block, Experts):
        products.append((Linear("router", block.hidden, block.num_experts), 1))
        products += [(linear, block.top_k) for linear in block.expert.linears]
        products += [(linear, 1) for linear in (block.shared.linears if block.shared else ())]
    else:
        products += [(linear, 1) for linear in block.linears]
    split = 0.0
    if not _score_bytes(attention, style):
        split = style.compute_bytes * attention.output_size + 4.0 * attention.num_heads
    replicated = 0.0
    for linear, copies in products[::2]:
        kept = copies * style.compute_bytes * linear.outputs
        if linear.outputs == attention.hidden and linear.inputs != attention.hidden:
            replicated += kept
        else:
            split += kept
    return Saved(replicated, split)

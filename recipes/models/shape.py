"""The shape of a model: its modules with their exact parameter counts.

A shape says nothing about dtype, batch or devices. Widths are in elements, counts in parameters.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh", "gelu_new", "quick_gelu", "relu"]
"""The nonlinearity; gelu_new is the tanh approximation written out in elementary operations, and
quick_gelu is x · sigmoid(1.702 x)."""


@dataclass(frozen=True)
class Linear:
    """A matrix multiplication: `inputs` × `outputs` weights, and `outputs` biases if any."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Norm:
    """A normalization over `width`: a weight each, and a bias each if any."""

    width: int
    kind: Literal["rms", "layer"] = "rms"
    bias: bool = False
    affine: bool = True
    float32_weight: bool = False
    """The weight is applied before the result leaves float32 (Gemma, OLMo 2)."""

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return self.width * (int(self.affine) + int(self.bias))


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2): queries and keys through low-rank bottlenecks."""

    kv_rank: int
    rope_width: int
    q_rank: int | None = None


@dataclass(frozen=True)
class Attention:
    """Self attention (or cross attention) of one layer.

    `head_width` is the width of a query or key head, `value_width` that of a value head (the same
    unless given). `window` is the longest distance that a token sees, None for all.
    """

    hidden: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    value_width: int | None = None
    linears: tuple[Linear, ...] = ()
    norms: tuple[Norm, ...] = ()
    rotary: bool = True
    rotary_share: float = 1.0
    """Of a head's width, what positions turn."""
    window: int | None = None
    latent: Latent | None = None
    num_other_parameters: int = 0
    dropout: float = 0.0
    concatenates: bool = False
    """transformers puts rotated and other parts of queries and keys together in new tensors."""
    copies_values: bool = False
    """With one matrix for queries, keys and values, its output is taken apart by copying."""
    masked: bool = False
    """transformers gives the kernel a mask of all pairs of tokens, and keys and values repeated for
    every head. With a window it does so wherever the sequence is longer."""
    score_bytes: float = 0.0
    """Kept for each pair of tokens and head where transformers computes scores one by one."""

    @property
    def query_size(self) -> int:
        """Elements of all queries of one token."""
        return self.num_heads * self.head_width

    @property
    def key_size(self) -> int:
        """Elements of all keys of one token."""
        return self.num_kv_heads * self.head_width

    @property
    def value_size(self) -> int:
        """Elements of all values of one token."""
        return self.num_kv_heads * (self.value_width or self.head_width)

    @property
    def output_size(self) -> int:
        """Elements of what all heads give for one token, before the output projection."""
        return self.num_heads * (self.value_width or self.head_width)

    @cached_property
    def num_parameters(self) -> int:
        """All weights, biases, norms and others."""
        return (
            sum(linear.num_parameters for linear in self.linears)
            + sum(norm.num_parameters for norm in self.norms)
            + self.num_other_parameters
        )

    @cached_property
    def num_matmul_parameters(self) -> int:
        """Weights that each token is multiplied with."""
        return sum(linear.inputs * linear.outputs for linear in self.linears)


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward block; gated ones multiply two projections of the input (SwiGLU).

    `fused` says that gate and up are one matrix.
    """

    hidden: int
    width: int
    gated: bool = True
    bias: bool = False
    activation: Activation = "silu"
    fused: bool = False

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """Up (and gate) and down; nothing where there is no width."""
        if not self.width:
            return ()
        if self.gated and self.fused:
            both = Linear("gate_up", self.hidden, 2 * self.width, self.bias)
            return (both, Linear("down", self.width, self.hidden, self.bias))
        up = Linear("up", self.hidden, self.width, self.bias)
        gate = (Linear("gate", self.hidden, self.width, self.bias),) if self.gated else ()
        return (*gate, up, Linear("down", self.width, self.hidden, self.bias))

    @cached_property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return sum(linear.num_parameters for linear in self.linears)

    @cached_property
    def num_matmul_parameters(self) -> int:
        """Weights that each token is multiplied with."""
        return sum(linear.inputs * linear.outputs for linear in self.linears)


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: a router sends each token to `top_k` of `num_experts` blocks.

    `shared` is a block that every token passes besides. `num_router_parameters` counts the router
    with its biases, and the gate of the shared block.
    """

    expert: FeedForward
    num_experts: int
    top_k: int
    num_router_parameters: int
    shared: FeedForward | None = None

    @property
    def hidden(self) -> int:
        """The width of the residual stream."""
        return self.expert.hidden

    @cached_property
    def num_parameters(self) -> int:
        """All experts, the shared block and the router."""
        shared = self.shared.num_parameters if self.shared else 0
        return self.num_experts * self.expert.num_parameters + shared + self.num_router_parameters

    @cached_property
    def num_expert_parameters(self) -> int:
        """What expert parallelism divides."""
        return self.num_experts * self.expert.num_parameters

    @cached_property
    def num_matmul_parameters(self) -> int:
        """Weights that each token is multiplied with: its own experts only."""
        shared = self.shared.num_matmul_parameters if self.shared else 0
        routed = self.top_k * self.expert.num_matmul_parameters
        return routed + shared + self.hidden * self.num_experts

    @cached_property
    def num_active_parameters(self) -> int:
        """Parameters that one token meets."""
        idle = (self.num_experts - self.top_k) * self.expert.num_parameters
        return self.num_parameters - idle


@dataclass(frozen=True)
class Layer:
    """One transformer layer.

    `norms` are those on the residual stream (two in most models, one where attention and
    feed-forward run in parallel, four in Gemma 2). `dropout` is applied to what each block adds.
    """

    attention: Attention
    feed_forward: FeedForward | Experts
    norms: tuple[Norm, ...]
    cross_attention: Attention | None = None
    dropout: float = 0.0
    num_other_parameters: int = 0
    parallel: bool = False
    """Attention and feed-forward read the same tensor."""
    whole: frozenset[str] = field(default_factory=frozenset)
    """What the model's tensor parallel plan leaves to every rank: "attention" and "feed-forward"
    are computed by all of them from gathered parts, "attention weights" are not even divided."""

    @cached_property
    def num_parameters(self) -> int:
        """All parameters of the layer."""
        return (
            self.attention.num_parameters
            + (self.cross_attention.num_parameters if self.cross_attention else 0)
            + self.feed_forward.num_parameters
            + sum(norm.num_parameters for norm in self.norms)
            + self.num_other_parameters
        )

    @cached_property
    def num_expert_parameters(self) -> int:
        """Parameters that expert parallelism divides."""
        block = self.feed_forward
        return block.num_expert_parameters if isinstance(block, Experts) else 0

    @cached_property
    def num_active_parameters(self) -> int:
        """Parameters that one token meets."""
        block = self.feed_forward
        if isinstance(block, Experts):
            return self.num_parameters - block.num_parameters + block.num_active_parameters
        return self.num_parameters

    @cached_property
    def num_matmul_parameters(self) -> int:
        """Weights that each token is multiplied with."""
        cross = self.cross_attention.num_matmul_parameters if self.cross_attention else 0
        return (
            self.attention.num_matmul_parameters + cross + self.feed_forward.num_matmul_parameters
        )

    @property
    def has_attention(self) -> bool:
        """It is no second half of a layer."""
        return self.attention.num_heads > 0

    @property
    def has_feed_forward(self) -> bool:
        """It is no first half of a layer."""
        return isinstance(self.feed_forward, Experts) or self.feed_forward.width > 0

    @property
    def is_half(self) -> bool:
        """It is one of the halves of a layer."""
        return not (self.has_attention and self.has_feed_forward)

    @cached_property
    def halves(self) -> "tuple[Layer, Layer]":
        """The layer up to its attention's residual sum, and what follows; each without the other.

        Attention that is not there has no heads, a feed-forward block no width. Both know the
        window, and so which mask is made for the layer.
        """
        middle = len(self.norms) // 2
        nothing = FeedForward(self.attention.hidden, 0, gated=False)
        no_attention = Attention(
            self.attention.hidden,
            num_heads=0,
            num_kv_heads=0,
            head_width=self.attention.head_width,
            rotary=False,
            window=self.attention.window,
        )
        return (
            replace(self, feed_forward=nothing, norms=self.norms[:middle], cross_attention=None),
            replace(
                self, attention=no_attention, norms=self.norms[middle:], num_other_parameters=0
            ),
        )


@dataclass(frozen=True)
class Stack:
    """Layers one after another: (layer, how many of it in a row), from first to last."""

    layers: tuple[tuple[Layer, int], ...]

    @cached_property
    def num_layers(self) -> int:
        """The depth."""
        return sum(count for _, count in self.layers)

    @cached_property
    def num_parameters(self) -> int:
        """All parameters of all layers."""
        return sum(layer.num_parameters * count for layer, count in self.layers)

    def per_layer(self) -> tuple[Layer, ...]:
        """Every layer, from first to last."""
        return tuple(layer for layer, count in self.layers for _ in range(count))


@dataclass(frozen=True)
class Vision:
    """A vision tower: patches through `stack`, then a projector into the language model.

    `patch_size` in pixels; `merge` is how many patches a side become one token of the language
    model. `num_other_parameters` counts patch embedding, positions, norms outside layers.
    """

    stack: Stack
    hidden: int
    patch_size: int
    merge: int
    num_other_parameters: int
    num_projector_parameters: int
    projector_input: int
    """Elements that the projector reads for one token of the language model."""

    @cached_property
    def num_parameters(self) -> int:
        """Tower and projector."""
        return self.stack.num_parameters + self.num_other_parameters + self.num_projector_parameters


@dataclass(frozen=True)
class ModelShape:
    """A language model. `stack` is the decoder (or the only stack)."""

    architecture: str
    """The config's model_type."""
    hidden: int
    vocab_size: int
    stack: Stack
    final_norms: tuple[Norm, ...]
    tied: bool
    """The output projection shares the input embedding's weights."""
    max_positions: int | None
    """The longest sequence the model was made for, in tokens; None where there is no limit."""
    embedding_width: int | None = None
    """The width of the embedding where it differs from `hidden` (OPT-350m)."""
    num_position_parameters: int = 0
    """A table of learned positions."""
    embedding_norms: tuple[Norm, ...] = ()
    num_embedding_projection_parameters: int = 0
    head_bias: bool = False
    embedding_dropout: float = 0.0
    caps_logits: bool = False
    """Logits go through a tanh (Gemma 2)."""
    scales_logits: bool = False
    """Logits are changed in another way before the loss (Cohere, Granite)."""
    encoder: Stack | None = None
    encoder_norms: tuple[Norm, ...] = ()
    vision: Vision | None = None
    splits: frozenset[str] = field(default_factory=frozenset)
    """Which of "tensor", "pipeline", "expert" there is a plan for."""
    own_attention: bool = False
    """Its attention cannot be exchanged for one that sees whole rows where they are divided, or
    something else carries from token to token."""

    @cached_property
    def num_embedding_parameters(self) -> int:
        """Token and position tables with their norms and projections."""
        return (
            self.vocab_size * (self.embedding_width or self.hidden)
            + self.num_position_parameters
            + sum(norm.num_parameters for norm in self.embedding_norms)
            + self.num_embedding_projection_parameters
        )

    @cached_property
    def num_head_parameters(self) -> int:
        """The output projection's own parameters: none where it is tied."""
        weights = 0 if self.tied else self.vocab_size * (self.embedding_width or self.hidden)
        return weights + (self.vocab_size if self.head_bias else 0)

    @cached_property
    def num_parameters(self) -> int:
        """All parameters of the model."""
        return (
            self.num_embedding_parameters
            + self.stack.num_parameters
            + (self.encoder.num_parameters if self.encoder else 0)
            + sum(norm.num_parameters for norm in (*self.final_norms, *self.encoder_norms))
            + self.num_head_parameters
            + (self.vision.num_parameters if self.vision else 0)
        )

    @cached_property
    def num_active_parameters(self) -> int:
        """Parameters that one token meets: with experts, fewer than all."""
        stacks = [self.stack, *([self.encoder] if self.encoder else [])]
        idle = sum(
            (layer.num_parameters - layer.num_active_parameters) * count
            for stack in stacks
            for layer, count in stack.layers
        )
        return self.num_parameters - idle

    @property
    def changes_logits(self) -> bool:
        """The loss is not that of what the head gives, but of something computed from it."""
        return self.caps_logits or self.scales_logits

    @property
    def is_mixture(self) -> bool:
        """Some layer has experts."""
        return any(isinstance(layer.feed_forward, Experts) for layer, _ in self.stack.layers)

"""How an implementation computes: what its kernels keep, in which types, with what overheads.

A plan for fsft itself uses `fsft_style`. Other styles describe the frameworks whose published
runs the planner is measured against.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from fsft.recipes.planner.kernels import Kernels


@dataclass(frozen=True)
class Style:
    """What the formulas need to know about an implementation.

    Bytes are per element, those of logits per logit of an unchunked loss.
    """

    name: str
    kernels: Kernels = field(default_factory=Kernels)
    weight_bytes: float = 2.0
    gradient_bytes: float = 2.0
    """Held from one micro batch to the next, and until the optimizer step."""
    optimizer_bytes: float = 12.0
    """Master weights and two moments."""
    always_copies_weights: bool = True
    """Without ZeRO, too, there are master weights beside those that are computed with."""
    sharded_weights: Literal["zero", "fsdp"] = "zero"
    """zero: states are divided by stage; fsdp: float32 shards, gathered in the computing type."""
    compute_bytes: float = 2.0
    """The type that activations are computed in."""
    norm: Literal["eager", "fused"] = "eager"
    """eager: RMSNorm by elementary operations with a float32 copy of its input."""
    gated: Literal["eager", "fused"] = "eager"
    """eager keeps the activated gate beside gate, up and their product; fused recomputes it."""
    activation_kept: bool = True
    """Plain feed-forward: the input of the nonlinearity is kept besides its output."""
    fused_linears: bool = False
    """Queries, keys and values are views of one tensor that lives as long as any of them."""
    splits_norms: bool = False
    """With tensor parallelism, norms and dropouts are divided along the sequence."""
    vocabulary_parallel: bool = True
    """With tensor parallelism each rank computes its part of the logits only."""
    loss: Literal["logits", "head"] = "logits"
    """logits: of all logits, or of `Job.loss_chunk` tokens at a time; head: a chunk is projected
    and has its gradients computed before the next, unless the model changes its logits."""
    logit_bytes: float = 12.0
    """The log-softmax in float32, its gradient, and that of the logits."""
    evaluated_logit_bytes: float = 10.0
    """Without gradients: the logits, their float32 copy, the log-softmax."""
    picks_positions: bool = False
    """The head reads the positions that learn, which are copied out of the last layer's output."""
    kept_logit_bytes: float = 4.0
    """The log-softmax, which forward leaves for backward."""
    attention: Literal["fused", "masked", "scores"] = "fused"
    """fused knows by itself who sees whom; masked is told by a mask of all pairs of tokens where
    samples begin; scores computes and keeps one for each pair."""
    masks_windows: bool = True
    """Where a window is shorter than the sequence, attention is given a mask of all pairs."""
    scores_bytes: float = 0.0
    """Per attention score that is kept, where attention materializes s × s of them."""
    gathered_inputs: bool = False
    """With sequence-split tensor parallelism the gathered input of a matmul is kept, not the part
    that a rank had."""
    held_gradients: bool = False
    """Gradient buffers exist from the start to the end of training."""
    other_gradient_bytes: float = 0.0
    """Gradients in the computing type, beside those they are added up in."""
    other_bytes_per_width: float = 0.0
    """Bytes per token, layer and element of the residual stream that no operation explains."""
    reserved_per_allocated: float = 1.05
    """What the caching allocator holds, relative to what is in use at the peak."""
    lost_to_gathering: float = 0.2
    """Under ZeRO-3, where weights of all sizes come and go: what the allocator holds besides,
    relative to the model states."""
    whole_gradients: bool = False
    """Sharded training adds up unsharded gradients of all weights over the micro batches."""
    copies_attention_output: bool = False
    """The output projection reads a copy of what attention gives."""
    copies_gradients: bool = True
    """The optimizer step makes float32 gradients of what it updates."""
    loading_bytes: float = 4.0
    """Host memory per parameter while a rank reads the model."""
    pipeline_copies: float = 1.0
    """Undivided inputs and outputs of a pipeline stage that are kept for a micro batch in flight,
    beside what its layers keep."""
    context_bytes: float = 0.5 * 2**30
    """What the driver takes: 0.47 GiB with lazily loaded kernels, 0.92 GiB with all of them
    (stas00/ml-engineering)."""
    communicators: int = 0
    """Communicators that exist even on one device."""

    @property
    def dtype(self) -> str:
        """The type that matrix products are computed in."""
        return "float32" if self.compute_bytes == 4 else "bfloat16"

    def optimizer_bytes_under(self, zero: int) -> float:
        """Bytes of optimizer states for each parameter in a ZeRO stage."""
        copies = zero > 0 or self.always_copies_weights
        return self.optimizer_bytes - (0.0 if copies else self.weight_bytes)

    @property
    def family(self) -> str:
        """The published runs that tell how far predictions are off."""
        return self.name


HUGGING_FACE = Style(name="huggingface", picks_positions=True)
"""transformers' own modules and loss, run eagerly under DeepSpeed."""


def fsft_style(dtype: str, attention: Literal["fused", "masked", "scores"] = "fused") -> Style:
    """What `fsft run` executes with a recipe's model.dtype under DeepSpeed.

    In float32, ZeRO's optimizer keeps a float32 copy of the weights all the same. Attention sample
    by sample goes through PyTorch's kernels many times, taken to be as fast as the first
    FlashAttention.
    """
    kernels: dict[str, Kernels] = {
        "fused": Kernels(),
        "masked": Kernels(attention="flash"),
        "scores": Kernels(attention="scores"),
    }
    byte = 4.0 if dtype == "float32" else 2.0
    style = replace(
        HUGGING_FACE,
        attention=attention,
        # Written by the product, read forward and backward, and their gradients three times.
        kernels=replace(kernels[attention], loss_bytes=6 * byte),
        loss="head",
        # Logits and their gradients, in the computing type: no float32 copies of all.
        logit_bytes=2 * byte,
        evaluated_logit_bytes=byte,
        kept_logit_bytes=byte,
    )
    if dtype == "float32":
        return replace(
            style,
            weight_bytes=4.0,
            gradient_bytes=4.0,
            compute_bytes=4.0,
            copies_gradients=False,
            always_copies_weights=False,
        )
    return style


FSFT = fsft_style("bfloat16")
"""What `fsft run` executes by default on an accelerator."""

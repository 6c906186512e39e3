"""How an implementation computes, as far as its speed depends on it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kernels:
    """The kernels that a framework launches.

    `attention`: "flash" and "flash-2" are the generations of FlashAttention (arXiv 2205.14135,
    2307.08691), "cudnn" those written for Hopper, "scores" materializes a score per pair of tokens.
    """

    attention: Literal["flash", "flash-2", "cudnn", "scores"] = "flash-2"
    elementwise: Literal["eager", "fused", "compiled"] = "eager"
    """eager launches one kernel for each operation, fused has hand-written ones for norms, rotary
    positions and activations, compiled has them from torch.compile."""
    modules: Literal["megatron-core"] | None = None
    """Megatron-core's modules, and Transformer Engine's in them, take the host several times as
    long as plain ones."""
    products: Literal["bfloat16", "float8"] = "bfloat16"
    gathers: Literal["modules", "layers"] = "modules"
    """What weights are gathered by under ZeRO-3: each module by Python hooks (DeepSpeed), or whole
    layers (FSDP)."""
    hides_tensor: bool = False
    """Communication of tensor parallelism runs beside the products (async TP)."""
    passes: Literal["heads", "keys"] = "heads"
    """What ranks that divide a sequence exchange: all-to-alls that give each some heads (Ulysses),
    or keys and values of all to all (ring attention)."""
    repeats_keys: bool = False
    """Keys and values are repeated for every head before they are exchanged."""
    hides_gradients: bool = True
    """Gradients are reduced while backward goes on."""
    hides_exchange: bool = False
    """Tokens go to their experts while another micro batch computes."""
    sends_once: bool = False
    """Expert parallelism sends a token once to each node, whatever number of experts it has there
    (DeepEP)."""
    deterministic: bool = False
    flat_states: bool = True
    """The optimizer sees one tensor for the weights of a layer (DeepSpeed, FSDP's first version),
    not each of them."""
    joined: tuple[str, ...] = ()
    """Matrices that are part of another: keys and values of that of queries, gates of up."""
    loss_bytes: float | None = None
    """Read and written for one logit, forward and backward, where it is not what the logits keep
    that is gone over."""
    dequantized_bytes: float = 5.0
    """Memory traffic to write out one quantized weight."""
    dequantizing_kernels: int = 3
    """Launched to write out one quantized matrix."""

    @property
    def host(self) -> str:
        """Whose launches the host's time is counted by."""
        return self.modules or self.elementwise

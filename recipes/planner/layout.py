"""How a run is spread over devices."""

from typing import Literal, NamedTuple

Checkpointing = Literal["none", "selective", "full"]
Offload = Literal["none", "cpu", "nvme"]
HostOffload = Literal["none", "cpu"]


class Layout(NamedTuple):
    """Degrees of parallelism and batch sizes.

    Devices = data × sequence × tensor × pipeline; experts are spread over `expert` of the data and
    sequence ranks. ZeRO divides over data × sequence ranks, or over `zero_group` of them.
    """

    zero: int = 1
    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    sequence: int = 1
    expert: int = 1
    micro_batch: int = 1
    gradient_accumulation: int = 1
    checkpointing: Checkpointing = "none"
    offload_optimizer: Offload = "none"
    offload_weights: Offload = "none"
    sequence_in_tensor: bool = False
    """Norms and dropouts between tensor parallel blocks are divided too (Megatron's sequence
    parallelism)."""
    virtual_stages: int = 1
    """Chunks of layers that one pipeline stage holds; more than one interleaves."""
    zero_group: int | None = None
    reshard: bool = True
    """ZeRO-3 frees gathered weights after forward."""
    checkpointed_every: int = 1
    """Each so many layers one is checkpointed, the first among them; the others keep all."""
    offload_activations: HostOffload = "none"
    """Where the inputs of checkpointed layers wait for backward."""

    @property
    def num_devices(self) -> int:
        """Devices that work together."""
        return self.data * self.sequence * self.tensor * self.pipeline

    @property
    def shards(self) -> int:
        """Ranks that ZeRO divides over."""
        return self.zero_group or self.data * self.sequence

    @property
    def expert_shards(self) -> int:
        """Ranks that ZeRO divides an expert's states over: those that hold the same experts.

        Tensor ranks share out whole experts, not parts of each.
        """
        return max(1, self.shards * self.tensor // self.expert)

    @property
    def share_checkpointed(self) -> float:
        """The share of layers that keep less than all."""
        return 0.0 if self.checkpointing == "none" else 1 / self.checkpointed_every

    @property
    def share_recomputed(self) -> float:
        """The share of layers whose whole forward is computed again."""
        return self.share_checkpointed if self.checkpointing == "full" else 0.0

    @property
    def checkpointing_words(self) -> str:
        """As in "full", "full, 1 of 2 layers", "full, inputs on cpu"."""
        words = [str(self.checkpointing)]
        if self.checkpointed_every > 1:
            words.append(f"1 of {self.checkpointed_every} layers")
        if self.offload_activations != "none":
            words.append(f"inputs on {self.offload_activations}")
        return ", ".join(words)

    @property
    def global_batch(self) -> int:
        """Sequences in one optimizer step."""
        return self.micro_batch * self.gradient_accumulation * self.data

    @property
    def name(self) -> str:
        """The layout in a few words, as in "ZeRO 1, TP 4, PP 2, DP 8"."""
        parts = [f"ZeRO {self.zero}"]
        for short, degree in (
            ("TP", self.tensor),
            ("PP", self.pipeline),
            ("SP", self.sequence),
            ("EP", self.expert),
        ):
            if degree > 1:
                parts.append(f"{short} {degree}")
        parts.append(f"DP {self.data}")
        if self.offload_optimizer != "none":
            what = "weights and optimizer" if self.offload_weights != "none" else "optimizer"
            parts.append(f"{what} on {self.offload_optimizer}")
        return ", ".join(parts)

"""What is trained: every weight, or adapters beside frozen ones."""

from dataclasses import dataclass
from typing import Literal

from fsft.recipes.models.shape import Linear

MethodType = Literal["full", "lora", "qlora", "freeze", "prompt"]

BITS = {"nf4": 4.5, "nf4-dq": 4.127}
"""Bits per weight: 4, and a float32 scale for 64 weights; with double quantization an 8-bit scale
for 64 and a float32 one for 256 of those (arXiv 2305.14314)."""


@dataclass(frozen=True)
class Method:
    """A fine-tuning method.

    `targets` names the linears that adapters go to; empty means all of every layer. `num_layers`
    is how many of the last layers "freeze" trains; `num_virtual_tokens` belongs to "prompt".
    """

    type: MethodType = "full"
    rank: int = 8
    targets: tuple[str, ...] = ()
    dropout: float = 0.0
    adapter_bytes: float = 4.0
    """Per adapter weight; peft keeps adapters in float32."""
    train_embeddings: bool = False
    quantization: str | None = None
    num_layers: int = 2
    num_virtual_tokens: int = 20

    @property
    def freezes(self) -> bool:
        """Some weights get no gradient."""
        return self.type != "full"

    @property
    def has_adapters(self) -> bool:
        """Low-rank matrices stand beside frozen ones."""
        return self.type in {"lora", "qlora"}

    def adapts(self, linear: Linear) -> bool:
        """An adapter stands beside `linear`."""
        return self.has_adapters and (not self.targets or linear.name in self.targets)


FULL = Method()

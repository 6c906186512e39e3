"""What is trained: every weight, or adapters beside frozen ones."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fsft.recipes.models.shape import Experts, Layer, Linear, ModelShape

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


def linears_of(layer: Layer) -> tuple[Linear, ...]:
    """All matrices of a layer; of experts, one of each kind."""
    block = layer.feed_forward
    found = list(layer.attention.linears)
    if layer.cross_attention:
        found += layer.cross_attention.linears
    if isinstance(block, Experts):
        found += block.expert.linears
        found += block.shared.linears if block.shared else ()
    else:
        found += block.linears
    return tuple(found)


@lru_cache(maxsize=256)
def num_adapter_parameters(shape: ModelShape, method: Method) -> int:
    """r · (inputs + outputs) for each matrix that has an adapter (arXiv 2106.09685)."""
    if not method.has_adapters:
        return 0
    total = 0
    for layer, count in shape.stack.layers:
        block = layer.feed_forward
        experts = block.num_experts if isinstance(block, Experts) else 1
        per_layer = 0
        for linear in linears_of(layer):
            if method.adapts(linear):
                copies = experts if _is_expert(linear, layer) else 1
                per_layer += copies * method.rank * (linear.inputs + linear.outputs)
        total += count * per_layer
    return total


@lru_cache(maxsize=256)
def num_trained_parameters(shape: ModelShape, method: Method) -> int:
    """Parameters that get gradients and optimizer states."""
    if method.type == "full":
        return shape.num_parameters
    if method.type == "prompt":
        return method.num_virtual_tokens * shape.hidden
    if method.type == "freeze":
        layers = shape.stack.per_layer()[-method.num_layers :]
        return sum(layer.num_parameters for layer in layers)
    embeddings = 0
    if method.train_embeddings:
        embeddings = shape.num_embedding_parameters + shape.num_head_parameters
    return num_adapter_parameters(shape, method) + embeddings


def _is_expert(linear: Linear, layer: Layer) -> bool:
    block = layer.feed_forward
    return isinstance(block, Experts) and linear in block.expert.linears

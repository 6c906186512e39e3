"""Layers of which each tensor parallel rank holds a share (https://arxiv.org/abs/1909.08053).

DeepSpeed's layers cut the weights and say in checkpoints how. The sums among ranks are fsft's:
DeepSpeed sums in place, where selective activation checkpointing still needs what was summed.
"""

from typing import Any
from weakref import ReferenceType, ref

import torch
import torch.distributed as dist
from deepspeed.module_inject.layers import LinearAllreduce, LinearLayer, VocabParallelEmbedding
from torch.nn.functional import linear

from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.slices import cut


class ColumnLinear(LinearLayer):
    """Some of the outputs from all of the inputs; with `gather_output` all outputs in the end."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out / ranks)."""
        outputs = linear(_last_shared(inputs, self.mp_group), self.weight, self.bias)
        return gathered(outputs, self.mp_group) if self.gather_output else outputs


class RowLinear(LinearAllreduce):
    """All outputs, summed over ranks that have some of the inputs each."""

    def __init__(self, module: torch.nn.Module, group: Any, *, whole_input: bool = False) -> None:
        """`whole_input`: each rank is given all inputs, and takes its own."""
        super().__init__(module, group)
        self.whole_input = whole_input

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in / ranks), or whole, to (…, out)."""
        if self.whole_input:
            inputs = shared(inputs, self.mp_group)
            inputs = inputs.chunk(self.tp_world_size, dim=-1)[self.tp_index]
        outputs = summed(linear(inputs, self.weight), self.mp_group)
        return outputs if self.bias is None else outputs + self.bias


class ColumnConv1D(torch.nn.Module):
    """ColumnLinear for transformers' Conv1D, whose weights are (in, out)."""

    def __init__(self, module: Any, axis: Axis, *, num_parts: int = 1) -> None:
        """Each rank has a share of each of `num_parts` matrices that lie beside each other."""
        super().__init__()
        self.weight, self.bias, self.group = module.weight, module.bias, axis.group
        cut(self.weight, axis, dim=1, num_parts=num_parts)
        cut(self.bias, axis, dim=0, num_parts=num_parts)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out / ranks)."""
        return linear(_last_shared(inputs, self.group), self.weight.t(), self.bias)


class RowConv1D(torch.nn.Module):
    """RowLinear for transformers' Conv1D."""

    def __init__(self, module: Any, axis: Axis) -> None:
        super().__init__()
        self.weight, self.bias, self.group = module.weight, module.bias, axis.group
        cut(self.weight, axis, dim=0, num_parts=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(…, in / ranks) to (…, out)."""
        return summed(linear(inputs, self.weight.t()), self.group) + self.bias


class VocabularyEmbedding(VocabParallelEmbedding):
    """The rows of some tokens; also where they are scaled after, as Gemma does."""

    @staticmethod
    def validate_embedding(module: torch.nn.Module) -> None:
        """DeepSpeed knows the scale of one Gemma; it is a buffer of this name in all of them."""
        if not hasattr(module, "embed_scale"):
            VocabParallelEmbedding.validate_embedding(module)


class _LastShared:
    """Queries, keys and values are computed of one input: its gradients are summed together."""

    def __init__(self) -> None:
        self._value: ReferenceType[torch.Tensor] | None = None
        self._result: torch.Tensor | None = None

    def __call__(self, value: torch.Tensor, group: Any) -> torch.Tensor:
        """As `shared`, and the same again for the same value."""
        if not (torch.is_grad_enabled() and value.requires_grad):
            return value
        if self._result is None or self._value is None or self._value() is not value:
            # With the value goes the result, and the graph that it holds.
            self._value, self._result = ref(value, self._forget), shared(value, group)
        return self._result

    def _forget(self, _: ReferenceType[torch.Tensor]) -> None:
        self._value = self._result = None


_last_shared = _LastShared()


def shared(value: torch.Tensor, group: Any) -> torch.Tensor:
    """The same value, of which each rank computes a part of what follows: gradients are summed."""
    result: torch.Tensor = _Shared.apply(value, group)
    return result


def summed(value: torch.Tensor, group: Any) -> torch.Tensor:
    """The sum over ranks, from which all of them compute the same."""
    result: torch.Tensor = _Summed.apply(value, group)
    return result


def gathered(value: torch.Tensor, group: Any) -> torch.Tensor:
    """The values of all ranks behind each other in the last dimension, for all to go on with."""
    result: torch.Tensor = _Gathered.apply(value, group)
    return result


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _sum(gradients[0], ctx.group), None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, value: torch.Tensor, group: Any) -> torch.Tensor:
        return _sum(value, group)

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, value.contiguous(), group=group)
        return torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        parts = gradients[0].chunk(dist.get_world_size(ctx.group), dim=-1)
        return parts[dist.get_rank(ctx.group)], None


def _sum(value: torch.Tensor, group: Any) -> torch.Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total

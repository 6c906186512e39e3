"""What a plan's word for a module means: the module of which each rank has its share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.slices import cut
from fsft.runtime.train.tensor_layers import (
    ColumnConv1D,
    ColumnLinear,
    RowConv1D,
    RowLinear,
    shared,
    summed,
)


def num_columns(module: Any, style: str) -> int | None:
    """How many columns a style divides; None where it divides none."""
    if style == "moe_tp_experts":
        return int(module.down_proj.shape[-1])
    if not style.startswith(("colwise", "rowwise")):
        return None
    outputs, inputs = module.weight.shape
    if isinstance(module, Conv1D):
        outputs, inputs = inputs, outputs
    return int(outputs if style.startswith("colwise") else inputs)


def _column(module: Any, axis: Axis, _: Any) -> nn.Module:
    if isinstance(module, Conv1D):
        return ColumnConv1D(module, axis)
    return ColumnLinear(module, axis.group)


def _column_of_three(module: Any, axis: Axis, _: Any) -> nn.Module:
    """Queries, keys and values of all heads lie behind each other."""
    return ColumnConv1D(module, axis, num_parts=3)


def _column_gathered(module: Any, axis: Axis, _: Any) -> nn.Module:
    return ColumnLinear(module, axis.group, gather_output=True)


def _row(module: Any, axis: Axis, _: Any) -> nn.Module:
    if isinstance(module, Conv1D):
        return RowConv1D(module, axis)
    return RowLinear(module, axis.group)


def _row_of_whole(module: Any, axis: Axis, _: Any) -> nn.Module:
    return RowLinear(module, axis.group, whole_input=True)


def _whole(module: Any, axis: Axis, _: Any) -> nn.Module:
    """Held whole by all ranks, each of which applies it to its own heads."""
    for parameter in module.parameters():
        parameter.register_hook(lambda gradient: summed(gradient, axis.group))
    return module


def _with_rope(module: Any, axis: Axis, config: Any) -> nn.Module:
    """The last of its outputs are the rotated part of a key that the heads of all ranks share."""
    rope = config.qk_rope_head_dim

    def share_rope(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        latent, rotated = output.split([output.shape[-1] - rope, rope], dim=-1)
        return torch.cat([latent, shared(rotated, axis.group)], dim=-1)

    module.register_forward_hook(share_rope)
    return module


def _experts(module: Any, axis: Axis, _: Any) -> nn.Module:
    """Each rank has some columns of every expert."""

    def share_inputs(_: nn.Module, inputs: Any) -> Any:
        states, chosen, weights = inputs
        return shared(states, axis.group), chosen, shared(weights, axis.group)

    def sum_outputs(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return summed(output, axis.group)

    cut(module.gate_up_proj, axis, dim=1, num_parts=2)
    cut(module.down_proj, axis, dim=2, num_parts=1)
    module.register_forward_pre_hook(share_inputs)
    module.register_forward_hook(sum_outputs)
    return module


def _own_heads(module: Any, axis: Axis, _: Any) -> nn.Module:
    """An attention that counts the heads that it is given, or the width of them all."""
    for name in {"num_heads", "split_size"} & set(vars(module)):
        setattr(module, name, getattr(module, name) // axis.size)
    return module


def _own_heads_of_alibi(module: Any, axis: Axis, config: Any) -> nn.Module:
    """BLOOM makes the slopes of all heads: (rows × heads, 1, length), for all layers at once."""
    num_heads = module.num_heads

    def take_own(_: nn.Module, inputs: Any, named: dict[str, Any]) -> Any:
        of_rows = named["alibi"].unflatten(0, (-1, num_heads))
        own = of_rows.chunk(axis.size, dim=1)[axis.rank].flatten(0, 1)
        return inputs, {**named, "alibi": own}

    module.register_forward_pre_hook(take_own, with_kwargs=True)
    return _own_heads(module, axis, config)


STYLES: dict[str, Callable[[Any, Axis, Any], nn.Module]] = {
    "colwise": _column,
    "colwise_gather_output": _column_gathered,
    "colwise_qkv": _column_of_three,
    "rowwise": _row,
    "rowwise_split_input": _row_of_whole,
    "replicated_with_grad_allreduce": _whole,
    "mla_kv_a_proj": _with_rope,
    "moe_tp_experts": _experts,
    "own_heads": _own_heads,
    "own_heads_of_alibi": _own_heads_of_alibi,
}
"""The words of transformers, and those of fsft's own plans."""

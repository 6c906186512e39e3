"""Slices of divided parameters and the whole ones that they make, as DeepSpeed's notes say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from fsft.runtime.train.mesh import Axis


def note_slices(model: Any) -> None:
    """Let DeepSpeed write into each checkpoint how the slices of this model make whole ones."""
    from deepspeed.checkpoint.constants import (
        AFFINE_MAP,
        AFFINE_MAP_PARAMS,
        UNIVERSAL_CHECKPOINT_INFO,
    )
    from deepspeed.module_inject.layers import collect_autotp_universal_checkpoint_info

    info = collect_autotp_universal_checkpoint_info(model)
    notes = info[AFFINE_MAP][AFFINE_MAP_PARAMS]
    first_names: dict[Any, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        # A tied weight is saved under all of its names.
        first = first_names.setdefault(parameter, name)
        notes[_pattern(name)] = notes[_pattern(first)]
    setattr(model, UNIVERSAL_CHECKPOINT_INFO, info)


def cut(parameter: torch.nn.Parameter, axis: Axis, *, dim: int, num_parts: int) -> None:
    """Keep this rank's share of each of `num_parts` equal parts along `dim`, and note it."""
    from deepspeed.accelerator import get_accelerator
    from deepspeed.checkpoint.affine import sub_param_map
    from deepspeed.checkpoint.constants import DS_AUTOTP_UC_META
    from deepspeed.module_inject.layers import (
        DS_TENSOR_MODEL_PARALLEL,
        _build_param_uc_restore_meta,
    )

    shape, size = tuple(parameter.shape), parameter.shape[dim] // num_parts
    layout = sub_param_map(
        shape, [size] * num_parts, [[size // axis.size] * axis.size] * num_parts, dim
    )
    device = get_accelerator().current_device_name()
    parameter.data = layout.extract(parameter.data, axis.rank).to(device)
    setattr(parameter, DS_TENSOR_MODEL_PARALLEL, True)
    note = _build_param_uc_restore_meta(
        partition_type="column",
        partition_dim=dim,
        logical_shape=shape,
        original_shape=shape,
        affine_map=layout,
    )
    setattr(parameter, DS_AUTOTP_UC_META, note)


def whole_shape(parameter: Any) -> tuple[int, ...]:
    """The shape of what a parameter is a slice of."""
    note = _note_of(parameter)
    if note is not None:
        return tuple(note["logical_shape"])
    # At ZeRO 3 a parameter is empty, and tells its shape apart.
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def own_slice(parameter: Any, whole: torch.Tensor, rank: int) -> torch.Tensor:
    """What a tensor parallel rank has of a whole parameter, or of a moment of it."""
    note = _note_of(parameter)
    if note is None:
        return whole.view_as(parameter)
    layout = _layout(note["conversion"]["affine_map"])
    own: torch.Tensor = layout.extract(whole.view(layout.logical_shape), rank)
    return own


@dataclass(frozen=True)
class Joined:
    """The whole of what tensor parallel ranks have under a name, made where it is asked for."""

    slices: Sequence[Any]
    """A tensor of each rank, or what becomes one with `contiguous()`."""
    layout: Any
    """None where all have the same."""

    @classmethod
    def of(cls, name: str, slices: Sequence[Any], saved: Mapping[str, Any]) -> Self:
        """`saved`: what DeepSpeed wrote into the model file of one rank, its notes among it."""
        from deepspeed.checkpoint.constants import (
            AFFINE_MAP,
            AFFINE_MAP_PARAMS,
            UNIVERSAL_CHECKPOINT_INFO,
        )

        if len(slices) == 1:
            return cls(slices, None)
        notes = saved[UNIVERSAL_CHECKPOINT_INFO][AFFINE_MAP][AFFINE_MAP_PARAMS]
        note = notes.get(_pattern(name))
        return cls(slices, _layout(note) if note else None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole."""
        return tuple(self.layout.logical_shape if self.layout else self.slices[0].shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of all slices."""
        return self.slices[0].dtype

    def contiguous(self) -> torch.Tensor:
        """The whole, in memory."""
        if self.layout is None:
            return self.slices[0].contiguous()
        slices = {rank: each.contiguous() for rank, each in enumerate(self.slices)}
        whole: torch.Tensor = self.layout.rebuild(slices)
        return whole.view(self.shape)


def _pattern(name: str) -> str:
    """The name of a parameter as DeepSpeed notes it."""
    return f"^{re.escape(name)}$"


def _note_of(parameter: Any) -> dict[str, Any] | None:
    from deepspeed.checkpoint.constants import DS_AUTOTP_UC_META

    note: dict[str, Any] | None = getattr(parameter, DS_AUTOTP_UC_META, None)
    return note


def _layout(note: dict[str, Any]) -> Any:
    from deepspeed.checkpoint.affine import ParamAffineMap

    return ParamAffineMap.from_dict(note)

"""ZeRO 3: each process takes its part of every weight, straight from where the weights lie.

transformers maps safetensors into memory, and a weight that is not read takes none. Each process
reads its own part of each weight and lets go of the pages, so that all processes of a machine
together hold the model once, beside one layer.
"""

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import torch

_PAGEOUT = 21
"""MADV_PAGEOUT of Linux 5.4 and later; pages that were written to are kept, or swapped out."""


def divide(model: torch.nn.Module, config: dict[str, Any], dtype: torch.dtype, group: Any) -> None:
    """Leave this process its part of every parameter, in `dtype`; `config` is DeepSpeed's.

    All processes of `group` must hold the same weights; nothing is sent.
    """
    import deepspeed

    class OwnParts(deepspeed.zero.Init):
        """Without the broadcast: what the first process would send is known to all."""

        def _zero_init_param(self, parameter: Any) -> None:
            self._convert_to_deepspeed_param(parameter)
            parameter.partition()

    parts = OwnParts(
        module=torch.nn.Module(), config_dict_or_path=config, data_parallel_group=group
    )
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        mapped = [_pages(parameter) for parameter in own]
        for parameter in own:
            if not hasattr(parameter, "ds_id"):
                parameter.data = parameter.data.to(dtype)
        parts._convert_to_zero_parameters(own)
        _let_go(mapped)


def _pages(parameter: torch.Tensor) -> tuple[int, int]:
    """The whole pages that hold a tensor: where they begin, and their bytes."""
    start = parameter.data_ptr()
    end = start + parameter.numel() * parameter.element_size()
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    return first, max(0, end // mmap.PAGESIZE * mmap.PAGESIZE - first)


def _let_go(pages: Sequence[tuple[int, int]]) -> None:
    """Take pages out of this process; what a file holds is read again where it is used again."""
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    for start, length in pages:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _PAGEOUT)

"""The kernels of a GPU in the place of those that a CPU would choose."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.nn import functional

_aten = torch.ops.aten

WIDEST_FLASH_HEAD = 256
"""Elements; wider heads go through the memory-efficient kernel (pytorch, sdp_utils.cpp)."""


@contextmanager
def gpu_kernels() -> Iterator[None]:
    """Dropout and fused attention as PyTorch runs them on a GPU; for tensors without data.

    On a CPU dropout keeps its mask in the computing type, and attention with dropout or a mask
    materializes all scores.
    """
    # A mode for torch functions would be off while backward computes layers again.
    with (
        patch.object(functional, "scaled_dot_product_attention", _attention),
        patch.object(functional, "dropout", _dropout),
    ):
        yield


def _dropout(
    tensor: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,  # noqa: ARG001 - the signature is torch's
) -> torch.Tensor:
    if not training or p == 0.0:
        return tensor
    dropped: torch.Tensor = _aten.native_dropout(tensor, p, True)[0]
    return dropped


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    half = query.dtype in {torch.bfloat16, torch.float16}
    width = max(query.shape[-1], value.shape[-1])
    same = query.shape[-1] == value.shape[-1]
    given: torch.Tensor
    if attn_mask is None and half and same and width <= WIDEST_FLASH_HEAD:
        # The kernel wants heads of a multiple of 8 elements, so PyTorch pads them.
        padding = -width % 8
        padded = [functional.pad(t, (0, padding)) if padding else t for t in (query, key, value)]
        given = _aten._scaled_dot_product_flash_attention(
            *padded, dropout_p, is_causal, False, scale=scale
        )[0]
        return given[..., :width] if padding else given
    if enable_gqa:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(
            attn_mask.logical_not(), float("-inf")
        )
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    given = _aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale
    )[0]
    return given

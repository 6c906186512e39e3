"""Attention over whole rows, for ranks that were given some of the heads."""

from collections.abc import Callable
from typing import Any

import torch


def attention_over(kernel: str) -> Callable[..., Any]:
    """The attention that transformers knows as `kernel`, told by position ids what to leave out.

    Position ids begin again at 0 with each sample of a row.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    attention: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS[kernel]
    if "flash" in kernel:
        return attention

    def masked(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        _mask: None,
        *args: Any,
        position_ids: torch.Tensor,
        **kwargs: Any,
    ) -> Any:
        mask = mask_of(position_ids, kwargs.get("sliding_window"))
        return attention(module, query, key, value, mask, *args, **kwargs)

    return masked


def mask_of(position_ids: torch.Tensor, sliding_window: int | None) -> torch.Tensor | None:
    """(rows, 1, length, length), true where a position sees another; None where plain causal does.

    `position_ids`: (rows, length).
    """
    length = position_ids.shape[1]
    places = torch.arange(length, device=position_ids.device)
    is_plain = torch.equal(position_ids, places.expand_as(position_ids))
    if is_plain and (sliding_window is None or length <= sliding_window):
        return None
    sample = (position_ids == 0).cumsum(dim=1)
    behind = places[:, None] - places
    sees = behind >= 0
    if sliding_window is not None:
        sees &= behind < sliding_window
    return ((sample[:, :, None] == sample[:, None]) & sees)[:, None]

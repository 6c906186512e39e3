"""Attention of packed rows, sample by sample.

transformers hides the other samples of a row behind a mask, but torch's sdpa computes them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.weak import WeakIdKeyDictionary


class Span(NamedTuple):
    """Neighbouring positions of a row that see none but each other."""

    length: int
    mask: torch.Tensor | None
    """(1, 1, length, length), true where a position sees another; None where plain causal does."""


def attend_by_sample() -> None:
    """Let sdpa compute only what samples see of themselves: all models of this process."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    # A model makes its mask once a forward, and gives it to each layer.
    known = WeakIdKeyDictionary()

    def spans_of(mask: torch.Tensor) -> list[list[Span]] | None:
        if mask not in known:
            known[mask] = spans(mask[:, 0])
        found: list[list[Span]] | None = known[mask]
        return found

    def by_sample(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        mask, rows = attention_mask, None
        if mask is not None and _has_rows(mask, query) and kwargs.get("position_bias") is None:
            rows = spans_of(mask)
        if mask is None or rows is None:
            return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
        outputs = []
        parts = (_cut(tensor, rows) for tensor in (query, key, value))
        for span, *part in zip((span for row in rows for span in row), *parts, strict=True):
            how = {**kwargs, "is_causal": span.mask is None}
            outputs.append(sdpa_attention_forward(module, *part, span.mask, **how)[0])
        # Each is (1, length, heads, size).
        joined = torch.cat(outputs, dim=1)
        return joined.view(len(query), -1, *joined.shape[2:]), None

    ALL_ATTENTION_FUNCTIONS.register("sdpa", by_sample)


def spans(mask: torch.Tensor) -> list[list[Span]] | None:
    """Each row cut wherever nothing sees across; None where not all see up to themselves.

    `mask`: (rows, length, length), true where a position sees another. What can be cut is a window
    that ends with the position itself, as of packed samples, padding and sliding windows.
    """
    places = torch.arange(mask.shape[-1], device=mask.device)
    first = mask.view(torch.uint8).argmax(dim=-1)
    if not torch.equal(mask, (first[..., None] <= places) & (places <= places[:, None])):
        return None
    earliest = first.flip(-1).cummin(dim=-1).values.flip(-1)
    return [
        list(_of_row(*row)) for row in zip(mask, first.tolist(), earliest.tolist(), strict=True)
    ]


def _of_row(mask: torch.Tensor, first: list[int], earliest: list[int]) -> Iterator[Span]:
    """`first` that each position sees; `earliest` that it or any behind it sees."""
    starts = [place for place, seen in enumerate(earliest) if seen == place]
    for start, end in zip(starts, [*starts[1:], len(first)], strict=True):
        if all(seen == start for seen in first[start:end]):
            yield Span(end - start, None)
        else:
            # A view would keep the mask, by which it is known.
            yield Span(end - start, mask[None, None, start:end, start:end].clone())


def _has_rows(mask: torch.Tensor, query: torch.Tensor) -> bool:
    """Whether a mask says what each position of each row of a micro batch sees."""
    rows, _, length, _ = query.shape
    is_whole = mask.shape == (rows, 1, length, length) and mask.dtype == torch.bool
    return is_whole and not torch.compiler.is_compiling()


def _cut(tensor: torch.Tensor, rows: Sequence[Sequence[Span]]) -> Iterator[torch.Tensor]:
    """(rows, heads, length, size) as (1, heads, span, size) of each span."""
    for row, own in zip(tensor.split(1), rows, strict=True):
        yield from row.split([span.length for span in own], dim=2)

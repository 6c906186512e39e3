"""Rows that are token ids already, maybe written by another program."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fsft.runtime.data.shapes.fields import has, kind

_MOST_IDS = 2**31
"""As many as int32 tells apart."""
_IGNORED = -100


@dataclass(frozen=True)
class TokenRow:
    """Token ids, and what else the row says about each of them; lists of the same length."""

    input_ids: list[int]
    labels: list[int] | None = None
    """The id to predict at each place, -100 where nothing is learned; None: learn all."""
    cu_seqlens: list[int] | None = None
    """Where samples that were packed into the row begin, from 0 to the row's length."""
    position_ids: list[int] | None = None


def read_tokens(row: Any, vocab_size: int = _MOST_IDS) -> TokenRow:
    """The checked token ids of a row; raises ValueError with the reason where they cannot be."""
    if not has(row, "input_ids"):
        raise ValueError("the tokens shape needs the field input_ids")
    ids = _numbers(row["input_ids"], "input_ids", least=0, end=vocab_size)
    if not ids:
        raise ValueError("input_ids is empty")
    labels = _beside(row, "labels", len(ids), least=_IGNORED)
    if labels is not None and (wrong := next((n for n in labels if _IGNORED < n < 0), None)):
        raise ValueError(f"labels must be token ids or {_IGNORED}, not {wrong}")
    if labels is not None and any(n not in (_IGNORED, i) for n, i in zip(labels, ids, strict=True)):
        raise ValueError(
            f"labels must be the token at its own place or {_IGNORED}, not the next token"
        )
    return TokenRow(
        ids,
        labels,
        _boundaries(row, len(ids)),
        _beside(row, "position_ids", len(ids), least=0),
    )


def _beside(row: Mapping[str, Any], name: str, length: int, *, least: int) -> list[int] | None:
    if not has(row, name):
        return None
    numbers = _numbers(row[name], name, least=least)
    if len(numbers) != length:
        raise ValueError(f"{name} has {len(numbers)} numbers, and input_ids {length}")
    return numbers


def _boundaries(row: Mapping[str, Any], length: int) -> list[int] | None:
    if not has(row, "cu_seqlens"):
        return None
    places = _numbers(row["cu_seqlens"], "cu_seqlens", least=0)
    rises = all(one < other for one, other in pairwise(places))
    if len(places) < 2 or places[0] != 0 or places[-1] != length or not rises:
        raise ValueError(f"cu_seqlens must rise from 0 to the row's length, {length}")
    return places


def _numbers(value: Any, name: str, *, least: int, end: int = _MOST_IDS) -> list[int]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list of whole numbers, not {kind(value)}")
    for number in value:
        if type(number) is not int:
            raise ValueError(f"{name} must hold whole numbers, not {kind(number)}")
        if not least <= number < end:
            raise ValueError(f"{name} must hold numbers from {least} to {end - 1}, not {number}")
    return list(value)

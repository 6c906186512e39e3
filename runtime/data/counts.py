"""Counting samples and tokens in tables of any columns."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fsft.runtime.data.encode import IGNORED

COUNTED = ("input_ids", "labels", "cu_seqlens")
"""The columns that count_rows looks at."""


@dataclass(frozen=True)
class Counts:
    """Sums over rows; tokens are None as soon as some rows have no column of token ids."""

    rows: int = 0
    samples: int = 0
    tokens: int | None = 0
    learned_tokens: int | None = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows + other.rows,
            self.samples + other.samples,
            _sum(self.tokens, other.tokens),
            _sum(self.learned_tokens, other.learned_tokens),
        )


def count_rows(table: pa.Table) -> Counts:
    """A row is a sample, unless its cu_seqlens tell that it holds several.

    Token ids stand in input_ids, and what is learned in labels, where there are such columns.
    """
    samples = table.num_rows
    if is_integer_list(table.schema, "cu_seqlens"):
        samples = _length(table, "cu_seqlens") - table.num_rows
    tokens = _length(table, "input_ids") if is_integer_list(table.schema, "input_ids") else None
    learned = None
    if is_integer_list(table.schema, "labels"):
        labels: Any = pc.list_flatten(table["labels"])
        is_learned = pc.not_equal(labels, pa.scalar(IGNORED, labels.type))
        learned = pc.sum(is_learned).as_py() or 0
    return Counts(table.num_rows, samples, tokens, learned)


def is_integer_list(schema: pa.Schema, name: str) -> bool:
    """Whether there is such a column, and it holds lists of integers."""
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and pa.types.is_integer(kind.value_type)


def _length(table: pa.Table, name: str) -> int:
    return pc.sum(pc.list_value_length(table[name])).as_py() or 0


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other

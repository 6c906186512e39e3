"""Encoded samples with what their shape has besides token ids, as columns of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft.runtime.data.encode import Mask, TokenBatch, labels_of
from fsft.runtime.data.sample import Sample


@dataclass(frozen=True)
class SampleBatch:
    """Samples in a row. `rejected` are the worse answers, in the same order, where there are any.

    `samples` say what else is known of each; empty where the rows were token ids already.
    """

    chosen: TokenBatch
    rejected: TokenBatch | None = None
    samples: Sequence[Sample] = ()

    @property
    def sides(self) -> list[TokenBatch]:
        """All that must fit and have something to learn."""
        return [self.chosen] if self.rejected is None else [self.chosen, self.rejected]


def to_columns(batch: SampleBatch, kept: Mask, schema: pa.Schema) -> pa.RecordBatch:
    """The samples that are kept, in the columns of `schema`."""
    columns = [_column(batch, name) for name in schema.names]
    table = pa.RecordBatch.from_arrays(
        [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )
    return table if kept.all() else table.filter(pa.array(kept))


def _column(batch: SampleBatch, name: str) -> Any:
    side = batch.rejected if name.startswith("rejected_") else batch.chosen
    if side is not None and name.endswith("input_ids"):
        return _lists(side, side.tokens.ids)
    if side is not None and name.endswith("labels"):
        return _lists(side, labels_of(side.tokens.ids, side.learned))
    values: list[Any] = [None] * len(batch.chosen)
    # Texts have no samples, and what stands beside preferences has nothing that was rejected.
    if batch.samples and not name.startswith("rejected_"):
        values = [getattr(sample, name) for sample in batch.samples]
    return pa.array(values, _KINDS.get(name))


def _lists(side: TokenBatch, values: npt.NDArray[np.int32]) -> Any:
    offsets: Any = pa.array(side.tokens.bounds.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values))


_KINDS = {"images": pa.list_(pa.string())}

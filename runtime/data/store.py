"""Token ids on disk: parquet to keep and exchange, a memory-mapped Arrow file to train from.

A row holds one or several samples: `input_ids`, `labels` (-100 where nothing is learned) and
`cu_seqlens`, the bounds of its samples (0, end of the first, … end of the last).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fsft.runtime.data.encode import Encoded

_INTS = pa.list_(pa.int32())
SCHEMA = pa.schema([("input_ids", _INTS), ("labels", _INTS), ("cu_seqlens", _INTS)])


@dataclass(frozen=True)
class TokenRow:
    """One row, as views into the file."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    cu_seqlens: npt.NDArray[np.int32]


class TokenRows:
    """The rows of a memory-mapped Arrow file: random access without reading the rest.

    Processes on one machine share the memory that holds it.
    """

    def __init__(self, path: Path) -> None:
        self._batches = _open_batches(path)
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> TokenRow:
        """The row at a non-negative index."""
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        batch, row = self._batches[place], int(index - self._starts[place])
        return TokenRow(*(_view(batch.column(name), row) for name in SCHEMA.names))

    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of tokens of each row."""
        columns: list[Any] = [batch.column("input_ids") for batch in self._batches]
        parts = [np.diff(column.offsets.to_numpy()) for column in columns]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts]).astype(np.int64)


@contextmanager
def token_writer(path: Path) -> Iterator[pq.ParquetWriter]:
    """A parquet file for token rows: zstd over byte-split integers is smallest and fastest."""
    encodings = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in SCHEMA.names}
    with pq.ParquetWriter(
        path, SCHEMA, compression="zstd", use_dictionary=False, column_encoding=encodings
    ) as writer:
        yield writer


def write_rows(writer: pq.ParquetWriter, rows: Iterable[Sequence[Encoded]]) -> int:
    """Append rows of one or more samples each as one row group; returns their number."""
    table: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in SCHEMA.names}
    for samples in rows:
        table["input_ids"].append(np.concatenate([sample.input_ids for sample in samples]))
        table["labels"].append(np.concatenate([sample.labels for sample in samples]))
        ends = np.cumsum([0, *(len(sample.input_ids) for sample in samples)])
        table["cu_seqlens"].append(ends.astype(np.int32))
    if table["input_ids"]:
        writer.write_table(pa.table(table, schema=SCHEMA))
    return len(table["input_ids"])


def write_arrow(parquet: Path, arrow: Path) -> None:
    """Write the rows of a parquet file uncompressed, one row group at a time, to be mapped."""
    with pa.ipc.new_file(str(arrow), SCHEMA) as writer:
        for batch in pq.ParquetFile(parquet).iter_batches(batch_size=4096):
            writer.write_batch(batch)


def _open_batches(path: Path) -> list[pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return [reader.get_batch(index) for index in range(reader.num_record_batches)]


def _view(column: Any, row: int) -> npt.NDArray[np.int32]:
    start, end = column.offsets[row].as_py(), column.offsets[row + 1].as_py()
    view: npt.NDArray[np.int32] = column.values.slice(start, end - start).to_numpy()
    return view

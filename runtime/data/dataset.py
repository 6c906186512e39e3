"""Parquet files that are read as one data set: the same columns, one file after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.dataset_files import find_files, one_schema

BATCH_BYTES = 16 << 20
"""Of a batch in memory, about. Fixed, so that what is written never depends on a memory limit."""
_MOST_ROWS = 1 << 20
_PROBED_ROWS = 256


@dataclass(frozen=True)
class Dataset:
    """Parquet files with the same columns. num_bytes is the size in memory, about."""

    files: tuple[Path, ...]
    schema: pa.Schema
    num_rows: int
    num_bytes: int

    @property
    def batch_rows(self) -> int:
        """Rows of about BATCH_BYTES; depends on the files alone."""
        return _rows_at_once(self.num_bytes, self.num_rows)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, in batches of about BATCH_BYTES; all columns or the named ones.

        Raises Refused naming the file that cannot be read to its end.
        """
        schema = self.schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        for path in self.files:
            try:
                for batch in _read(path, schema.names):
                    yield batch.cast(schema)
            except (pa.ArrowException, OSError) as error:
                raise Refused(_unreadable(path, error)) from None


def open_dataset(inputs: Sequence[Path]) -> Dataset:
    """The parquet files among and under `inputs`, of which folders are read in order of names.

    Raises Refused naming every file that is missing, is no parquet or has other columns.
    """
    files = find_files(inputs)
    problems: list[Problem] = []
    schemas: list[tuple[Path, pa.Schema]] = []
    num_rows = num_bytes = 0
    for path in files:
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                schemas.append((path, file.schema_arrow))
                num_rows += file.metadata.num_rows
                num_bytes += _size_in_memory(file)
        except (pa.ArrowException, OSError) as error:
            problems.append(_unreadable(path, error))
    if problems:
        raise Refused(*problems)
    schema = one_schema(schemas)
    return Dataset(tuple(files), schema, num_rows, max(1, num_bytes))


def _read(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    # Without buffer_size, Arrow would hold the compressed bytes of a whole row group.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        inflation = _inflation(file)
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            rows = _rows_at_once(group.total_byte_size * inflation, group.num_rows)
            for batch in file.iter_batches(rows, row_groups=[index], columns=list(columns)):
                yield batch.select(list(columns))


def _size_in_memory(file: pq.ParquetFile) -> int:
    groups = (file.metadata.row_group(index) for index in range(file.num_row_groups))
    return int(sum(group.total_byte_size for group in groups) * _inflation(file))


def _inflation(file: pq.ParquetFile) -> float:
    """Bytes in memory for one byte in the file before compression: dictionaries hide repetition."""
    if not file.metadata.num_row_groups or not file.metadata.row_group(0).num_rows:
        return 1.0
    group = file.metadata.row_group(0)
    probe = next(iter(file.iter_batches(_PROBED_ROWS, row_groups=[0])))
    in_file = group.total_byte_size * probe.num_rows / group.num_rows
    return max(1.0, probe.nbytes / max(1.0, in_file))


def _rows_at_once(num_bytes: float, num_rows: int) -> int:
    """Rows of about BATCH_BYTES, where `num_rows` take `num_bytes`."""
    return max(1, min(_MOST_ROWS, int(BATCH_BYTES * num_rows / max(1.0, num_bytes))))


def _unreadable(path: Path, error: Exception) -> Problem:
    reason = str(error).splitlines()[0].rstrip(".")
    return Problem(file=str(path), reason=f"cannot be read as parquet: {reason}.")

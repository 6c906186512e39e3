"""Rows of parquet and arrow files, a few at a time whatever the size of their groups."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.streams import BOMB_FLOOR, BOMB_RATIO, open_raw

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PIECE_BYTES = 8 * 1024**2
"""Bytes of rows that are turned into Python objects together."""
MOST_ROWS = 1024
_BUFFER = 1024**2


def read_parquet(file: DataFile, start: int, stop: int | None) -> Iterator[Row]:
    """The rows of row groups [start, stop), numbered from the beginning of the file."""
    with told_as_content("parquet"), open_parquet(file) as parquet:
        _check_names(parquet.schema_arrow.names)
        _refuse_bomb(file, parquet)
        meta = parquet.metadata
        number = sum(meta.row_group(group).num_rows for group in range(start))
        for group in range(start, meta.num_row_groups if stop is None else stop):
            most = rows_together(
                meta.row_group(group).total_byte_size, meta.row_group(group).num_rows
            )
            yield from rows_of(file, parquet.iter_batches(most, row_groups=[group]), number)
            number += meta.row_group(group).num_rows


def read_arrow(file: DataFile, _start: int, _stop: int | None) -> Iterator[Row]:
    """The rows of an Arrow IPC file or stream; `datasets` caches are streams."""
    with told_as_content("arrow"):
        yield from rows_of(file, arrow_batches(file), 0)


def arrow_batches(file: DataFile) -> Iterator["pa.RecordBatch"]:
    """The batches of an arrow file, whose values may still be broken. Raises what pyarrow does."""
    import pyarrow as pa

    if not file.size and not file.is_remote:
        raise BadContent("the file is empty")
    # Mapped, because a file may be one batch of any size.
    source: Any = open_raw(file) if file.is_remote else pa.memory_map(file.path)
    with source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        batches: Iterable[pa.RecordBatch]
        if is_file:
            table = pa.ipc.open_file(source)
            _check_names(table.schema.names)
            batches = (table.get_batch(index) for index in range(table.num_record_batches))
        else:
            batches = stream = pa.ipc.open_stream(source)
            _check_names(stream.schema.names)
        for batch in batches:
            batch.validate()
            yield batch


@contextmanager
def open_parquet(file: DataFile) -> Iterator["pq.ParquetFile"]:
    """A parquet file that reads pages as they are needed. Raises what pyarrow does."""
    import pyarrow.parquet as pq

    # pre_buffer would hold all of a row group.
    with io.BufferedReader(cast("io.RawIOBase", open_raw(file)), _BUFFER) as raw:
        yield pq.ParquetFile(raw, pre_buffer=False, buffer_size=_BUFFER)


def group_sizes(parquet: "pq.ParquetFile") -> list[int]:
    """The bytes of each row group when it is expanded.

    Those of columns as stored are not asked for: of some broken files, pyarrow ends the process.
    """
    meta = parquet.metadata
    return [meta.row_group(index).total_byte_size for index in range(meta.num_row_groups)]


@contextmanager
def told_as_content(kind: str) -> Iterator[None]:
    """Turn what pyarrow says about broken files into BadContent."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # What the disk or the network says has a number; what pyarrow says has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = str(error).strip().split("\n")[0].rstrip(".")
        raise BadContent(f"is not valid {kind}: {first}") from None


def rows_of(file: DataFile, batches: Iterable["pa.RecordBatch"], before: int) -> Iterator[Row]:
    """The rows of batches, numbered on from `before`; one that is no Python value has an error."""
    number = before
    for batch in batches:
        most = rows_together(batch.nbytes, batch.num_rows)
        for place in range(0, batch.num_rows, most):
            for value, error in _values(batch.slice(place, most)):
                number += 1
                yield Row(file.path, number, value, error)


def rows_together(num_bytes: int, num_rows: int) -> int:
    """How many rows of a size to take at once."""
    return max(1, min(MOST_ROWS, PIECE_BYTES * num_rows // max(1, num_bytes)))


def _values(piece: "pa.RecordBatch") -> list[tuple[Any, str]]:
    try:
        # Arrow believes what a file says of itself, and would read anywhere.
        piece.validate(full=True)
        return [(value, "") for value in piece.to_pylist()]
    except (ValueError, ArithmeticError, NotImplementedError) as error:
        # Text that is not UTF-8, dates beyond Python's: only one of the rows may have it.
        if piece.num_rows == 1:
            reason = str(error).split("\n")[0].rstrip(".")
            is_text = isinstance(error, UnicodeDecodeError) or "UTF8" in reason
            return [(None, "is not UTF-8 text" if is_text else reason or type(error).__name__)]
    return [pair for place in range(piece.num_rows) for pair in _values(piece.slice(place, 1))]


def _check_names(names: list[str]) -> None:
    """Raises BadContent for columns of one name: a row holds only one of them."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadContent(f"has the column {twice!r} twice")


def _refuse_bomb(file: DataFile, parquet: "pq.ParquetFile") -> None:
    expanded = sum(group_sizes(parquet))
    if file.size and expanded > max(BOMB_FLOOR, BOMB_RATIO * file.size):
        raise Refused(
            Problem(
                file=file.path,
                reason=f"expands to more than {BOMB_RATIO} times its size, as no text does.",
            )
        )

"""Reading the rows of a data file, one at a time, each with its place."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fsft.recipes.data_files import FileKind
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.files import DataFile, local_file
from fsft.runtime.data.hub import read_set
from fsft.runtime.data.json_rows import read_json, read_jsonl
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.streams import open_stream
from fsft.runtime.data.table_rows import read_arrow, read_parquet
from fsft.runtime.data.text_rows import read_csv, read_m2, read_txt


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a local file in order. Raises Refused as read_file does."""
    return read_file(local_file(path))


def read_file(file: DataFile, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """The rows of a file, or of a range of it: bytes of jsonl, row groups of parquet, rows of sets.

    Memory holds little more than LINE_LIMIT, whatever the size. What is wrong with a row is in its
    `error`; what makes the rest of a file unreadable is in that of the last row. Raises Refused
    where the file cannot be reached or expands like a bomb.
    """
    try:
        if file.kind in _TEXT_READERS:
            with open_stream(file) as stream:
                yield from read_text(file, stream, start, stop)
        else:
            yield from _READERS[file.kind](file, start, stop)
    except BadContent as trouble:
        yield Row(file.path, trouble.line, error=trouble.reason)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}."
        raise Refused(Problem(file=file.path, reason=reason)) from None


def read_text(
    file: DataFile, stream: BinaryIO, start: int = 0, stop: int | None = None
) -> Iterator[Row]:
    """The rows of a text file that is open. Raises what its reader does."""
    if file.kind == "jsonl":
        return read_jsonl(file, stream, start, stop)
    return _TEXT_READERS[file.kind](file, stream)


_TEXT_READERS: dict[FileKind, Callable[[DataFile, BinaryIO], Iterator[Row]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_csv,
    "txt": read_txt,
    "m2": read_m2,
}

_READERS: dict[FileKind, Callable[[DataFile, int, int | None], Iterator[Row]]] = {
    "parquet": read_parquet,
    "arrow": read_arrow,
    "saved": read_set,
    "hub": read_set,
}

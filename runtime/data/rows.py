"""Reading the rows of a data file, one at a time, each with its place."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused


@dataclass(frozen=True)
class Row:
    """One row: its value, or the reason why it cannot be read."""

    line: int
    """The line of a jsonl file; in json and parquet the number of the row, from 1."""
    value: Any = None
    error: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a json, jsonl or parquet file in order; memory holds one row group at most.

    A json file is one list of rows and is read whole. Raises Refused when the file as a whole
    cannot be read.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise Refused(
            Problem(
                file=str(path),
                reason=f"`{path.suffix}` is not a known kind of data file.",
                example=f"one of {', '.join(READERS)}",
            )
        )
    try:
        yield from reader(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Problem(file=str(path), reason=f"cannot be read: {error}.")) from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield parse_line(number, line)


def parse_line(number: int, line: bytes) -> Row:
    """The row that a line of jsonl holds."""
    try:
        return Row(number, json.loads(line.removeprefix(b"\xef\xbb\xbf")))
    except UnicodeDecodeError:
        return Row(number, error="is not UTF-8 text")
    except (json.JSONDecodeError, RecursionError) as error:
        return Row(number, error=f"is not valid JSON: {error}")


def _read_json(path: Path) -> Iterator[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise Refused(
            Problem(file=str(path), line=error.lineno, reason=f"is not valid JSON: {error.msg}.")
        ) from None
    if not isinstance(rows, list):
        raise Refused(
            Problem(
                file=str(path),
                reason="a json file must hold one list of rows.",
                example='[{"prompt": "…", "answer": "…"}]',
            )
        )
    for number, value in enumerate(rows, start=1):
        yield Row(number, value)


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches():
            for value in batch.to_pylist():
                number += 1
                yield Row(number, value)
    except pa.ArrowInvalid as error:
        raise Refused(Problem(file=str(path), reason=f"is not valid parquet: {error}.")) from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""Kinds of data file, by ending."""

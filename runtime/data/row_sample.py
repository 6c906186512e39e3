"""Some rows of large data, spread over all of it where that can be done."""

import io
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from fsft.recipes.data_files import TEXT_KINDS
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.hub import count_rows, read_set
from fsft.runtime.data.json_rows import parse_line
from fsft.runtime.data.lines import LINE_LIMIT, TOO_LONG, read_lines
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.rows import read_text
from fsft.runtime.data.streams import open_stream, stored_bytes
from fsft.runtime.data.table_rows import arrow_batches, open_parquet, rows_of, told_as_content

_Item = TypeVar("_Item")

PLACES = 20
"""Files of a source, and row groups of a file, that are looked into."""
MOST_BYTES = 32 * 1024**2
"""About how much of a file is held at once, whatever the length of its rows."""
MOST_PASSED = 512 * 1024**2
"""Bytes of a file that are passed over on the way to the next line, where lines are very long."""


@dataclass(frozen=True)
class RowSample:
    """Rows with their sizes, and the size of all the data in the same unit."""

    rows: list[Row]
    sizes: list[float]
    whole: float
    is_from_start: bool = False
    """Whether a file could be read only from its beginning: the rest may be of another sort."""

    @property
    def num_rows(self) -> float:
        """Rows of all the data; an estimate where sizes differ."""
        return self.whole * len(self.sizes) / sum(self.sizes) if self.sizes else 0.0


def sample_rows(files: Sequence[DataFile], number: int) -> RowSample:
    """About `number` rows, the same ones each time; of many files, some, the larger the likelier.

    Lines of jsonl, row groups and data sets are taken from all over a file, others from its first
    MOST_BYTES. Raises Refused where a file cannot be reached.
    """
    if len(files) == 1:
        return _sample(files[0], number)
    rows: list[Row] = []
    sizes: list[float] = []
    is_from_start = False
    for file, share in _some_files(files):
        sample = _sample(file, max(1, round(number * share)))
        # Units differ from kind to kind: in bytes as stored they can be added.
        unit = max(1, file.size) / sample.whole if sample.whole else 0.0
        rows += sample.rows
        sizes += [size * unit for size in sample.sizes]
        is_from_start |= sample.is_from_start
    return RowSample(rows, sizes, float(sum(max(1, file.size) for file in files)), is_from_start)


def _some_files(files: Sequence[DataFile]) -> Iterator[tuple[DataFile, float]]:
    """The files at PLACES points, evenly spread over the bytes of all, each with its share."""
    step = sum(max(1, file.size) for file in files) / PLACES
    passed, drawn = 0, Counter[int]()
    place = 0
    for index, file in enumerate(files):
        passed += max(1, file.size)
        while place < PLACES and (place + 0.5) * step < passed:
            drawn[index] += 1
            place += 1
    yield from ((files[index], times / PLACES) for index, times in sorted(drawn.items()))


def _sample(file: DataFile, number: int) -> RowSample:
    try:
        if file.kind == "jsonl" and file.end and not file.is_remote:
            return _from_lines(file, number)
        if file.kind in TEXT_KINDS:
            return _from_start(file, number)
        if file.kind == "parquet":
            return _from_parquet(file, number)
        if file.kind == "arrow":
            return _from_arrow(file, number)
        return _from_set(file, number)
    except BadContent as trouble:
        return RowSample([Row(file.path, trouble.line, error=trouble.reason)], [1.0], 1.0)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}."
        raise Refused(Problem(file=file.path, reason=reason)) from None


def _from_lines(file: DataFile, number: int) -> RowSample:
    """The line after a random place: as likely for every line, where neighbours are not alike."""
    rows: list[Row] = []
    sizes: list[float] = []
    places = random.Random(0).sample(range(file.size), min(number, file.size))
    # Not sorted: where the sizes are too many, what was read is still from all over the file.
    passed = 0
    with Path(file.path).open("rb") as stream:
        for place in places:
            line = _next_line(stream, place, file.end)
            passed += stream.tell() - place
            if line == b"":
                # After the last line comes the first.
                line = _next_line(stream, 0, file.end)
            if line is None:
                rows.append(Row(file.path, 0, error=TOO_LONG))
                sizes.append(float(LINE_LIMIT))
            elif line:
                rows.append(parse_line(file.path, 0, line))
                sizes.append(float(len(line)))
            if sum(sizes) > MOST_BYTES or passed > MOST_PASSED:
                break
    return RowSample(rows, sizes, float(file.size))


def _next_line(stream: BinaryIO, place: int, end: int | None) -> bytes | None:
    """The first line with something in it that begins at `place` or later; empty at the end."""
    stream.seek(place)
    lines = read_lines(stream, place, end=end)
    return next((line for line in lines if line is None or line.strip()), b"")


def _from_start(file: DataFile, number: int) -> RowSample:
    """Rows spread over the first MOST_BYTES of text, which may be all there is."""
    with open_stream(file) as stream:
        data, is_all, rows = b"", False, list[Row]()
        while not is_all and not rows:
            data += stream.read(max(MOST_BYTES, len(data)))
            is_all = not cast("io.BufferedReader", stream).peek()
            rows = list(_rows_of_text(file, data))[: None if is_all else -1]
        stored = float(stored_bytes(file, stream))
    kept = _spread(rows, number)
    if is_all:
        return RowSample(kept, [1.0] * len(kept), float(len(rows)))
    sizes = [stored / len(rows)] * len(kept)
    return RowSample(kept, sizes, float(file.size), is_from_start=True)


def _rows_of_text(file: DataFile, data: bytes) -> Iterator[Row]:
    try:
        with io.BufferedReader(io.BytesIO(data)) as stream:
            yield from read_text(file, cast("BinaryIO", stream))
    except BadContent as trouble:
        yield Row(file.path, trouble.line, error=trouble.reason)


def _from_parquet(file: DataFile, number: int) -> RowSample:
    with told_as_content("parquet"), open_parquet(file) as parquet:
        meta = parquet.metadata
        groups = _spread(range(meta.num_row_groups), PLACES)
        rows: list[Row] = []
        for group in groups:
            size = meta.row_group(group).total_byte_size // max(1, meta.row_group(group).num_rows)
            each = _rows_of_place(number, len(groups), size)
            batches = parquet.iter_batches(each, row_groups=[group])
            rows += islice(rows_of(file, batches, 0), each)
        return RowSample(rows, [1.0] * len(rows), float(meta.num_rows))


def _from_arrow(file: DataFile, number: int) -> RowSample:
    """From batches all over the file, which is mapped; what is remote is read twice."""
    with told_as_content("arrow"):
        counts = [batch.num_rows for batch in arrow_batches(file)]
        places = set(_spread(range(len(counts)), PLACES))
        rows: list[Row] = []
        for index, batch in enumerate(arrow_batches(file)):
            if index in places:
                size = batch.nbytes // max(1, batch.num_rows)
                piece = batch.slice(0, _rows_of_place(number, len(places), size))
                rows += rows_of(file, [piece], 0)
        return RowSample(rows, [1.0] * len(rows), float(sum(counts)))


def _from_set(file: DataFile, number: int) -> RowSample:
    num_rows, num_bytes = count_rows(file)
    places = _spread(range(num_rows), PLACES)
    each = _rows_of_place(number, PLACES, num_bytes // max(1, num_rows))
    rows = [row for place in places for row in read_set(file, place, place + each)]
    return RowSample(rows, [1.0] * len(rows), float(num_rows))


def _spread(items: Sequence[_Item], number: int) -> list[_Item]:
    """At most `number` of the items, evenly spread."""
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]


def _rows_of_place(number: int, places: int, row_bytes: int) -> int:
    """Rows to take at each place, so that all together are about `number`, and not too large."""
    fitting = MOST_BYTES // max(1, places * row_bytes)
    return max(1, min(number // max(1, places), fitting))

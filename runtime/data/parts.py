"""Pieces of work of about the same size, cut from data files of any size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise

from fsft.recipes.data_files import is_web
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.hub import count_rows, read_first
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.rows import read_file
from fsft.runtime.data.streams import open_raw
from fsft.runtime.data.table_rows import group_sizes, open_parquet, told_as_content

TARGET_BYTES = 64 * 1024**2
"""Stored bytes of a part: seconds of work, and few enough to go round among workers."""


@dataclass(frozen=True)
class Part:
    """Files that are read one after the other, or a range of one file; can be pickled."""

    files: tuple[DataFile, ...]
    start: int = 0
    stop: int | None = None
    """Where the range ends: bytes of jsonl, row groups of parquet, rows of a data set."""
    limit: int | None = None
    """Rows after which reading stops."""


def split_into_parts(
    files: Iterable[DataFile], *, target_bytes: int = TARGET_BYTES, limit: int | None = None
) -> list[Part]:
    """Parts that hold every row once, in order; the same ones whoever reads them.

    Small files go into a part together. Large jsonl, parquet and data sets are cut; other kinds,
    and what is compressed, can be read only from their beginning. With `limit` all is one part,
    read only up to that many rows. Raises Refused where a data set cannot be had.
    """
    if limit is not None:
        return [Part(tuple(files), limit=limit)]
    parts: list[Part] = []
    group: list[DataFile] = []
    held = 0
    for file in files:
        pieces = _pieces(file, target_bytes)
        if group and (len(pieces) > 1 or held + file.size > target_bytes):
            parts.append(Part(tuple(group)))
            group, held = [], 0
        if len(pieces) > 1:
            parts.extend(pieces)
        else:
            group.append(file)
            held += file.size
    return [*parts, Part(tuple(group))] if group else parts


def read_part(part: Part) -> Iterator[Row]:
    """The rows of a part in order, broken ones with their error. Raises Refused as read_file does.

    Lines of a byte range are counted from its own beginning: `lines_before` counts the others.
    """
    rows = chain.from_iterable(_rows(part, file) for file in part.files)
    return islice(rows, part.limit)


def lines_before(part: Part) -> int:
    """What to add to the lines of a part's rows, as Row.problem does, to get those of the file.

    Of a byte range, reads all that is before it: to be asked once a part, where there are problems.
    """
    file = part.files[0]
    if file.kind != "jsonl" or not part.start:
        return 0
    lines, last, left = 1, b"\n", part.start
    with open_raw(file) as raw:
        while left and (data := raw.read(min(left, 1024**2))):
            lines += data.count(b"\n")
            last = data[-1:]
            left -= len(data)
    return lines - (last == b"\n")


def _rows(part: Part, file: DataFile) -> Iterator[Row]:
    if part.limit is not None and file.kind == "hub":
        return read_first(file, part.limit)
    return read_file(file, part.start, part.stop)


def _pieces(file: DataFile, target_bytes: int) -> Sequence[Part]:
    """The file cut at about every `target_bytes`; one piece where it is small or cannot be cut."""
    if file.kind in ("hub", "saved"):
        num_rows, num_bytes = count_rows(file)
        number = max(1, min(num_rows, -(-num_bytes // target_bytes)))
        return _ranges(file, [index * num_rows // number for index in range(number + 1)])
    if file.size <= target_bytes:
        return [Part((file,))]
    if file.kind == "parquet":
        return _ranges(file, _row_groups(file, target_bytes))
    # A server of web pages need not be able to start in the middle.
    if file.kind == "jsonl" and not file.compression and not is_web(file.path):
        number = -(-file.size // target_bytes)
        return _ranges(file, [index * file.size // number for index in range(number + 1)])
    return [Part((file,))]


def _ranges(file: DataFile, bounds: Sequence[int]) -> Sequence[Part]:
    whole = Part((file,))
    pairs = pairwise(bounds)
    return [replace(whole, start=start, stop=stop) for start, stop in pairs]


def _row_groups(file: DataFile, target_bytes: int) -> list[int]:
    """Bounds of consecutive row groups of about `target_bytes`; of a broken file, its one piece."""
    try:
        with told_as_content("parquet"), open_parquet(file) as parquet:
            sizes = group_sizes(parquet)
    except (BadContent, OSError):
        # Whoever reads the part finds the same and says it.
        return [0, 0]
    stored = file.size / max(1, sum(sizes))
    bounds, held = [0], 0.0
    for index, size in enumerate(sizes):
        if held and held + size * stored > target_bytes:
            bounds.append(index)
            held = 0.0
        held += size * stored
    return [*bounds, len(sizes)]

"""Some rows of a large file, spread over all of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.rows import Row, parse_line, read_rows

GROUPS = 20
"""Row groups of a parquet file that are looked into."""


@dataclass(frozen=True)
class RowSample:
    """Rows with their sizes, and the size of the whole file in the same unit."""

    rows: list[Row]
    sizes: list[float]
    whole: float

    @property
    def num_rows(self) -> float:
        """Rows of the whole file; an estimate where sizes differ."""
        return self.whole * len(self.sizes) / sum(self.sizes) if self.sizes else 0.0


def sample_rows(path: Path, number: int) -> RowSample:
    """About `number` rows, the same ones each time. Raises Refused as read_rows does."""
    try:
        return _SAMPLERS[path.suffix](path, number)
    except OSError as error:
        raise Refused(Problem(file=str(path), reason=f"cannot be read: {error}.")) from None


def _from_lines(path: Path, number: int) -> RowSample:
    """The line after a random place: as likely for every line, where neighbours are not alike."""
    size = path.stat().st_size
    places = random.Random(0)
    rows: list[Row] = []
    sizes: list[float] = []
    with path.open("rb") as file:
        for place in sorted(places.sample(range(size), min(number, size))):
            file.seek(place)
            file.readline()
            if line := _next_row(file):
                rows.append(parse_line(len(rows) + 1, line))
                sizes.append(float(len(line)))
    return RowSample(rows, sizes, float(size))


def _next_row(file: BinaryIO) -> bytes:
    """The next line that is not blank; none at the end of the file."""
    line = file.readline()
    while line and not line.strip():
        line = file.readline()
    return line


def _from_list(path: Path, number: int) -> RowSample:
    rows = list(read_rows(path))
    number = min(number, len(rows))
    kept = [rows[index * len(rows) // number] for index in range(number)]
    return RowSample(kept, [1.0] * len(kept), float(len(rows)))


def _from_parquet(path: Path, number: int) -> RowSample:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    groups = range(0, file.num_row_groups, max(1, file.num_row_groups // GROUPS))
    each = max(1, number // len(groups))
    batches = (next(file.iter_batches(each, row_groups=[group]), None) for group in groups)
    values = [value for batch in batches if batch for value in batch.to_pylist()]
    rows = [Row(line, value) for line, value in enumerate(values, start=1)]
    return RowSample(rows, [1.0] * len(rows), float(file.metadata.num_rows))


_SAMPLERS: dict[str, Callable[[Path, int], RowSample]] = {
    ".jsonl": _from_lines,
    ".json": _from_list,
    ".parquet": _from_parquet,
}

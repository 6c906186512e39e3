"""Writing rows as the parts of a data set, in the compression and encodings that suit tokens."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fsft.runtime.data.counts import Counts, count_rows, is_integer_list
from fsft.runtime.data.info import PartInfo, part_info

Compression = Literal["zstd", "gzip", "brotli", "snappy", "lz4"]
_LEVELS = {"zstd": 3}
"""Of zstd, level 3 gives nearly all it has to give at a fraction of the time."""

PartOf = Callable[[pa.Table], npt.NDArray[np.int64]]
"""The part that each row of the next table goes to; never less than the one before."""


@dataclass(frozen=True)
class Layout:
    """How parts are written. The same rows and layout give the same bytes."""

    schema: pa.Schema
    group_rows: int
    """Rows of a row group; all of them are in memory at once."""
    compression: Compression = "zstd"


def write_parts(
    tables: Iterable[pa.Table], part_of: PartOf, folder: Path, layout: Layout
) -> list[PartInfo]:
    """Write tables, in their order, to part-00000.parquet and so on."""
    parts: list[PartInfo] = []
    runs = _runs(tables, part_of)
    following = next(runs, None)
    while following is not None:
        current, path = following[0], folder / f"part-{len(parts):05}.parquet"
        counts = Counts()
        with pq.ParquetWriter(path, layout.schema, **_options(layout)) as writer:
            pending: list[pa.Table] = []
            while following is not None and following[0] == current:
                pending.append(following[1])
                counts += count_rows(following[1])
                pending = _write_full_groups(writer, pending, layout.group_rows)
                following = next(runs, None)
            if pending:
                writer.write_table(pa.concat_tables(pending).combine_chunks())
        parts.append(part_info(path, folder, counts))
    return parts


def by_rows(num_parts: int, num_rows: int) -> PartOf:
    """Parts whose numbers of rows differ by one at most."""
    seen = 0

    def part_of(table: pa.Table) -> npt.NDArray[np.int64]:
        nonlocal seen
        rows = np.arange(seen, seen + table.num_rows, dtype=np.int64)
        seen += table.num_rows
        # Python's integers do not overflow, and there is one bound a part.
        bounds = [-(-part * num_rows // num_parts) for part in range(1, num_parts)]
        return np.searchsorted(np.asarray(bounds, dtype=np.int64), rows, side="right")

    return part_of


def _runs(tables: Iterable[pa.Table], part_of: PartOf) -> Iterator[tuple[int, pa.Table]]:
    """Slices of the tables that go to one part each."""
    for table in tables:
        parts = part_of(table)
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        ends = [*starts[1:].tolist(), table.num_rows]
        for start, end in zip(starts.tolist(), ends, strict=True):
            yield int(parts[start]), table.slice(start, end - start)


def _write_full_groups(
    writer: pq.ParquetWriter, pending: list[pa.Table], group_rows: int
) -> list[pa.Table]:
    """Write as many row groups as there are rows for; returns the rest."""
    while sum(table.num_rows for table in pending) >= group_rows:
        whole = pa.concat_tables(pending)
        # Combined first: the same rows then give the same pages, however they came in.
        writer.write_table(whole.slice(0, group_rows).combine_chunks())
        rest = whole.slice(group_rows)
        pending = [rest] if rest.num_rows else []
    return pending


def _options(layout: Layout) -> dict[str, Any]:
    """Integers in lists are split by byte, which compresses best; the rest gets dictionaries."""
    schema = layout.schema
    lists = tuple(f"{name}." for name in schema.names if is_integer_list(schema, name))
    leaves = _leaves(schema)
    return {
        "compression": layout.compression,
        "compression_level": _LEVELS.get(layout.compression),
        "use_dictionary": [leaf for leaf in leaves if not leaf.startswith(lists)],
        "column_encoding": {leaf: "BYTE_STREAM_SPLIT" for leaf in leaves if leaf.startswith(lists)},
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """The columns as parquet knows them, such as `messages.list.element.role`."""
    file = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), file)
    found = pq.ParquetFile(pa.BufferReader(file.getvalue())).schema
    return [found.column(index).path for index in range(len(found))]

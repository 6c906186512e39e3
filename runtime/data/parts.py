"""Pieces of a source that are prepared apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.schema import Source
from fsft.runtime.data.rows import Row, read_rows


@dataclass(frozen=True)
class Part:
    files: tuple[str, ...]
    num_bytes: int
    limit: int | None = None


def split_into_parts(source: Source, *, target_bytes: int) -> list[Part]:  # noqa: ARG001
    return [Part((str(f),), f.stat().st_size, source.max_samples) for f in [Path(source.path)]]


def read_part(part: Part) -> Iterator[Row]:
    for file in part.files:
        for index, row in enumerate(read_rows(Path(file))):
            if index == part.limit:
                return
            yield row


def read_part_batches(part: Part) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for file in part.files:
        yield from pq.ParquetFile(file).iter_batches(batch_size=4096)

"""What it costs to lay tokens out for training, and to read them at random."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fsft.runtime.data.store import read_batches
from fsft.runtime.data.training_set import Portion, TokenRows, write_training_set

SEQUENCE_LENGTH = 4096
READS = 5000


def measure_reading(files: list[Path], folder: Path) -> dict[str, float]:
    """Packing at SEQUENCE_LENGTH, and microseconds for a random sample and row.

    No way to pack needs fewer rows than fewest_rows: the tokens fill no less.
    """
    folder.mkdir()
    start = time.perf_counter()
    num_samples = sum(batch.num_rows for batch in _fitting(files))
    extent = write_training_set(
        folder,
        _fitting(files),
        [Portion(num_samples)],
        sequence_length=SEQUENCE_LENGTH,
        packing=True,
    )
    seconds = time.perf_counter() - start
    rows = TokenRows(folder)
    random = np.random.default_rng(0)
    return {
        "layout_seconds": seconds,
        "packing_efficiency": extent.num_tokens / (extent.num_rows * SEQUENCE_LENGTH),
        "packed_rows": extent.num_rows,
        "fewest_rows": -(-extent.num_tokens // SEQUENCE_LENGTH),
        "sample_microseconds": _each(rows.sample, random.integers(0, num_samples, READS)),
        "row_microseconds": _each(rows.__getitem__, random.integers(0, len(rows), READS)),
    }


def _fitting(files: list[Path]) -> Iterator[pa.RecordBatch]:
    """The samples that are no longer than a row."""
    for batch in read_batches(files):
        lengths: Any = pc.list_value_length(batch.column("input_ids"))
        yield batch.filter(pc.less_equal(lengths, pa.scalar(SEQUENCE_LENGTH)))


def _each(read: Callable[[int], object], indexes: npt.NDArray[np.int64]) -> float:
    numbers = indexes.tolist()
    for index in numbers[: READS // 10]:
        read(index)
    start = time.perf_counter()
    for index in numbers:
        read(index)
    return (time.perf_counter() - start) / len(numbers) * 1e6

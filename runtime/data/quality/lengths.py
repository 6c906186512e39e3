"""How long samples are: quantiles, and a histogram in powers of two."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lengths:
    """Numbers of characters, turns or tokens of samples. `bins` are (from, to, samples).

    A length is in a bin where from ≤ length < to; no bin before the first sample or after the last.
    """

    unit: str
    num_samples: int
    mean: float
    least: int
    median: int
    p95: int
    most: int
    bins: tuple[tuple[int, int, int], ...]


def measure(unit: str, values: Sequence[int]) -> Lengths | None:
    """What is told of lengths; None of no samples."""
    if not values:
        return None
    lengths = np.asarray(values, dtype=np.int64)
    median, p95 = np.quantile(lengths, [0.5, 0.95], method="higher")
    # frexp is exact where log2 of a large power of two might round down.
    classes = np.frexp(lengths.astype(np.float64))[1]
    counts = np.bincount(classes)
    bins = tuple(
        (2 ** (index - 1) if index else 0, 2**index, int(counts[index]))
        for index in range(int(classes.min()), len(counts))
    )
    return Lengths(
        unit,
        len(lengths),
        float(lengths.mean()),
        int(lengths.min()),
        int(median),
        int(p95),
        int(lengths.max()),
        bins,
    )

"""Putting several samples into one row."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of sample indexes whose lengths add up to at most `capacity` tokens each.

    Best fit, longest first: each sample goes to the row that it fills best. Deterministic. Within
    a row, and among rows by their first sample, the order of the input is kept. Every length must
    be in 1…capacity.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        place = bisect_left(free, (length, -1))
        if place == len(free):
            rows.append([index])
            insort(free, (capacity - length, len(rows) - 1))
        else:
            room, row = free.pop(place)
            rows[row].append(index)
            insort(free, (room - length, row))
    return sorted(sorted(row) for row in rows)

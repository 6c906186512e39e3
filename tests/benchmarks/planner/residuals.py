"""How far measurements were from predictions, by family of implementations: the error bars."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import tomli_w

from tests.benchmarks.planner.memory_errors import PeakError
from tests.benchmarks.planner.time_errors import SpeedError

FEWEST_ROWS = 10
"""A family with fewer runs takes the error bars of all."""
HEADER = """\
# How far published measurements were from predictions: 10th and 90th percentile of
# log(measured / predicted), of memory and of seconds. In "all" every group of runs weighs the same.
# Written by `python -m tests.benchmarks.planner --write-residuals`.

"""


def residuals_text(peaks: list[PeakError], speeds: list[SpeedError]) -> str:
    """A TOML document; runs of quality C are left out."""
    document = {
        "memory": _families([(row, -math.log1p(row.error)) for row in peaks if _counts(row)]),
        # More tokens per second than predicted are fewer seconds.
        "time": _families([(row, math.log1p(row.error)) for row in speeds if _counts(row)]),
    }
    return HEADER + tomli_w.dumps(document)


def _counts(row: PeakError | SpeedError) -> bool:
    return row.case.fields["quality"] in {"A", "B"}


def _families(rows: Sequence[tuple[Any, float]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    families: dict[str, list[float]] = defaultdict(list)
    for row, residual in rows:
        groups[row.case.group].append(residual)
        families[row.case.job.style.family].append(residual)
    everything = [(value, 1 / len(values)) for values in groups.values() for value in values]
    found = {"all": _row(everything)}
    for family, values in sorted(families.items()):
        if len(values) >= FEWEST_ROWS:
            found[family] = _row([(value, 1.0) for value in values])
    return found


def _row(weighted: list[tuple[float, float]]) -> dict[str, float]:
    return {name: round(percentile(weighted, at), 3) for name, at in (("p10", 0.1), ("p90", 0.9))}


def percentile(weighted: list[tuple[float, float]], share: float) -> float:
    """The value below which `share` of the weight lies."""
    total = sum(weight for _, weight in weighted)
    passed = 0.0
    for value, weight in sorted(weighted):
        passed += weight
        # Sums of equal weights are a little off.
        if passed >= share * total - 1e-9:
            return value
    return max(value for value, _ in weighted)

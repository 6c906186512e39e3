"""Error bars: how far predictions were from published measurements."""

import math
import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple


class Range(NamedTuple):
    """A value with the ends between which 8 of 10 published runs lay, relative to prediction."""

    low: float
    expected: float
    high: float


def memory_range(value: float, family: str) -> Range:
    """The range of a memory prediction in the unit of `value`."""
    return _range(value, "memory", family)


def time_range(value: float, family: str) -> Range:
    """The range of a time prediction in the unit of `value`."""
    return _range(value, "time", family)


def _range(value: float, kind: str, family: str) -> Range:
    low, high = _spread(kind, family)
    return Range(value * low, value, value * high)


@lru_cache(maxsize=64)
def _spread(kind: str, family: str) -> tuple[float, float]:
    """Factors of the 10th and the 90th percentile; of all families where one has no runs."""
    residuals = _residuals()[kind]
    row = residuals.get(family) or residuals["all"]
    return math.exp(row["p10"]), math.exp(row["p90"])


@lru_cache(maxsize=1)
def _residuals() -> dict[str, dict[str, dict[str, float]]]:
    text = files("fsft.recipes.planner").joinpath("residuals.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)

"""Fit the constants of the time model: `python -m tests.benchmarks.planner.fit`.

Minimizes the mean over groups of the mean |log(predicted / measured)|, each capped, by going
through the constants one at a time. Prints the errors of each group with constants that were
fitted without it, and writes recipes/planner/speeds.toml with those of all groups.
"""

import argparse
import math
import statistics
from dataclasses import asdict, replace
from pathlib import Path

import tomli_w

from fsft.recipes.planner.speeds import Speeds
from tests.benchmarks.planner.__main__ import CASES, print_groups
from tests.benchmarks.planner.cases import Case, read_cases
from tests.benchmarks.planner.time_errors import SpeedError, measured_speed, speed_errors

SPEEDS = Path(__file__).parents[3] / "recipes" / "planner" / "speeds.toml"
BOUNDS = {
    "sustained": (0.6, 1.0),
    "sustained_float8": (0.5, 1.0),
    "float8_gain": (1.0, 2.0),
    "memory": (0.5, 0.95),
    "unhidden": (0.1, 1.0),
    "attention": (0.5, 1.1),
    "link": (0.3, 0.9),
    "network": (0.3, 0.95),
    "overlap": (0.1, 1.0),
    "overlap_modules": (0.05, 1.0),
    "interference": (0.0, 0.5),
    "kernel_seconds": (4e-6, 20e-6),
    "module_seconds": (50e-6, 500e-6),
    "tensor_seconds": (50e-6, 1e-3),
    "newer_host": (0.5, 1.0),
    "hop_seconds": (1e-6, 50e-6),
}
"""What each constant can be at all; those that are not here are not fitted."""
EXPECTED = Speeds(
    sustained=0.95,
    sustained_float8=0.8,
    float8_gain=1.5,
    memory=0.85,
    unhidden=0.5,
    attention=0.9,
    link=0.7,
    network=0.7,
    overlap=0.7,
    overlap_modules=0.2,
    interference=0.19,
    kernel_seconds=10e-6,
    module_seconds=200e-6,
    tensor_seconds=300e-6,
    newer_host=0.68,
    hop_seconds=10e-6,
    host_bandwidth=60e9,
)
"""What is known of each constant before any run: collective benchmarks, kernel traces."""
CAP = 0.4
"""An error beyond this counts no more: the row has a cause that the model does not know."""
PRIOR = 0.15
"""Keeps constants near what is expected unless many rows tell otherwise."""


def main() -> None:
    """Fit without each group in turn, then on all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--write", action="store_true", help="write speeds.toml")
    arguments = parser.parse_args()
    cases = [
        case
        for case in read_cases(arguments.cases)
        if measured_speed(case) and case.fields["quality"] != "C"
    ]
    unseen: list[SpeedError] = []
    for group in dict.fromkeys(case.group for case in cases):
        speeds = fit([case for case in cases if case.group != group])
        unseen += speed_errors([case for case in cases if case.group == group], speeds)
    print("Speed, each group with constants fitted without it")
    print_groups(unseen, " ")
    speeds = fit(cases)
    print("\nSpeed, constants fitted to all groups")
    print_groups(speed_errors(cases, speeds), " ")
    for name, value in asdict(speeds).items():
        print(f"  {name} = {value:.4g}")
    if arguments.write:
        SPEEDS.write_text(_document(speeds, cases), encoding="utf-8")


def fit(cases: list[Case]) -> Speeds:
    """Constants that minimize the loss over `cases`, from the expected ones on."""
    speeds = EXPECTED
    best = loss(cases, speeds)
    step = 0.2
    while step > 0.004:
        improved = False
        for name, (low, high) in BOUNDS.items():
            for factor in (1 + step, 1 / (1 + step)):
                value = min(high, max(low, getattr(speeds, name) * factor))
                tried = replace(speeds, **{name: value})
                if (found := loss(cases, tried)) < best - 1e-5:
                    speeds, best, improved = tried, found, True
        if not improved:
            step /= 2
    return speeds


def loss(cases: list[Case], speeds: Speeds) -> float:
    """Mean over groups of the mean capped |log error|."""
    groups: dict[str, list[float]] = {}
    for row in speed_errors(cases, speeds):
        groups.setdefault(row.case.group, []).append(min(CAP, abs(math.log1p(row.error))))
    away = sum(
        math.log((getattr(speeds, name) + 1e-9) / (getattr(EXPECTED, name) + 1e-9)) ** 2
        for name in BOUNDS
    )
    return statistics.mean(map(statistics.mean, groups.values())) + PRIOR * away


def _document(speeds: Speeds, cases: list[Case]) -> str:
    groups = ", ".join(dict.fromkeys(case.group for case in cases))
    values = {name: float(f"{value:.3g}") for name, value in asdict(speeds).items()}
    return (
        "# Written by `python -m tests.benchmarks.planner.fit --write`.\n"
        f"# Fitted to {len(cases)} rows of published_runs.json: {groups}.\n"
        + tomli_w.dumps({"speeds": values})
    )


if __name__ == "__main__":
    main()

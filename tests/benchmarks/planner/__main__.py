"""How far the planner is from published runs: `python -m tests.benchmarks.planner`.

Prints errors of memory and speed per group and over all groups, each with equal weight; with
--json the rows, each a case with predictions beside what was measured.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.benchmarks.planner.cases import Case, read_cases
from tests.benchmarks.planner.memory_errors import PeakError, memory_errors, predicted_peak
from tests.benchmarks.planner.residuals import percentile, residuals_text
from tests.benchmarks.planner.time_errors import SpeedError, predicted_speed, speed_errors

CASES = Path(__file__).parent / "published_runs.json"
RESIDUALS = Path(__file__).parents[3] / "recipes" / "planner" / "residuals.toml"
GIB = 2**30


def main() -> None:
    """Read the cases, ask the planner, print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-residuals", action="store_true", help="write residuals.toml")
    parser.add_argument("--rows", action="store_true", help="print every case")
    arguments = parser.parse_args()
    cases = read_cases(arguments.cases)
    peaks, speeds = memory_errors(cases), speed_errors(cases)
    if arguments.write_residuals:
        RESIDUALS.write_text(residuals_text(peaks, speeds), encoding="utf-8")
    if arguments.json:
        print(json.dumps(_document(cases, peaks), ensure_ascii=False))
        return
    if arguments.rows:
        _print_rows(peaks, speeds)
    print("Memory, |error| of the peak in the metric of each source")
    for quality in "ABC":
        print_groups([row for row in peaks if row.case.fields["quality"] == quality], quality)
    refused = [row.case.fields["id"] for row in peaks if row.says_it_does_not_fit]
    print(f"runs that ran and are said not to fit: {refused or 'none'}\n")
    print("Speed, |error| of tokens per second and device")
    print_groups(speeds, " ")


def print_groups(rows: Iterable[PeakError | SpeedError], label: str) -> None:
    """Errors of each group, and their mean."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.case.group, []).append(abs(row.error))
    weighted = [(error, 1 / len(errors)) for errors in groups.values() for error in errors]
    for group, errors in groups.items():
        _print_figures(label, group, [(error, 1.0) for error in errors])
    if weighted:
        _print_figures(label, "all, groups alike", weighted)


def _print_figures(label: str, name: str, weighted: list[tuple[float, float]]) -> None:
    median, ninetieth, worst = (percentile(weighted, share) for share in (0.5, 0.9, 1.0))
    print(
        f"  {label} {name:26} {len(weighted):4} rows  median {median:6.1%}  p90 {ninetieth:6.1%}"
        f"  worst {worst:6.1%}"
    )


def _print_rows(peaks: list[PeakError], speeds: list[SpeedError]) -> None:
    for row in peaks:
        peak = row.peak
        parts = " ".join(f"{key[0]}{value / GIB:.2f}" for key, value in _components(peak).items())
        print(
            f"{row.case.fields['id']:28} {row.case.fields['quality']} "
            f"{row.measured / GIB:7.2f} {row.predicted / GIB:7.2f} {row.error:+7.1%} "
            f"[{peak.name}] {parts}"
        )
    for speed in speeds:
        print(
            f"{speed.case.fields['id']:28} {speed.measured:9.1f} {speed.predicted:9.1f} "
            f"{speed.error:+7.1%}"
        )


def _components(peak: Any) -> dict[str, float]:
    return {key: value for key, value in peak._asdict().items() if isinstance(value, float | int)}


def _document(cases: list[Case], peaks: list[PeakError]) -> dict[str, Any]:
    refused = {row.case.fields["id"] for row in peaks if row.says_it_does_not_fit}
    return {
        "rows": [
            case.fields
            | {
                "predicted_peak_gib": predicted_peak(case) / GIB,
                "predicted_tokens_per_s_per_gpu": predicted_speed(case),
                "says_it_does_not_fit": case.fields["id"] in refused,
            }
            for case in cases
        ]
    }


if __name__ == "__main__":
    main()

"""The planner against published runs: what is true today stays true."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.planner.cases import Case, read_cases
from tests.benchmarks.planner.memory_errors import memory_errors
from tests.benchmarks.planner.time_errors import speed_errors

FILE = Path(__file__).parent / "published_runs.json"
SMALL = Path(__file__).parent / "small_runs.json"


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_cases(FILE)


def test_memory_of_exactly_known_runs_is_predicted(cases: list[Case]) -> None:
    errors = sorted(
        abs(row.error) for row in memory_errors(cases) if row.case.fields["quality"] == "A"
    )
    assert statistics.median(errors) <= 0.03
    assert errors[int(0.9 * len(errors))] <= 0.08
    assert errors[-1] <= 0.15


def test_memory_of_runs_with_one_inferred_setting_is_predicted(cases: list[Case]) -> None:
    groups: dict[str, list[float]] = {}
    for row in memory_errors(cases):
        if row.case.fields["quality"] == "B":
            groups.setdefault(row.case.group, []).append(abs(row.error))
    medians = [statistics.median(errors) for errors in groups.values()]
    assert statistics.median(medians) <= 0.06


def test_no_run_that_ran_is_said_not_to_fit(cases: list[Case]) -> None:
    assert [row.case.fields["id"] for row in memory_errors(cases) if row.says_it_does_not_fit] == []


@pytest.mark.parametrize(
    ("group", "bound"),
    [
        ("torchtitan-202412", 0.03),
        ("torchtitan-asyncTP-202506", 0.08),
        ("megatron-golden", 0.08),
        ("llm-foundry", 0.06),
        ("qwen-readme", 0.08),
        ("fms-fsdp", 0.04),
        ("xtuner", 0.08),
        ("moe-modelzoo", 0.08),
        ("mbridge-moonlight", 0.04),
        ("internevo", 0.06),
        ("vtrain-multi", 0.06),
    ],
)
def test_speed_of_every_group_is_predicted(cases: list[Case], group: str, bound: float) -> None:
    errors = [abs(row.error) for row in speed_errors(cases) if row.case.group == group]
    assert statistics.median(errors) <= bound


@pytest.mark.parametrize(("group", "bound"), [("vtrain-single", 0.1), ("megatron-ci", 0.2)])
def test_models_too_small_for_their_devices_wait_for_the_host(group: str, bound: float) -> None:
    rows = [row for row in speed_errors(read_cases(SMALL)) if row.case.group == group]
    assert len(rows) > 40
    assert statistics.median(abs(row.error) for row in rows) <= bound


def test_predictions_are_printed_beside_what_was_measured(tmp_path: Path) -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    document["cases"] = document["cases"][:5]
    some = tmp_path / "cases.json"
    some.write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.planner", "--cases", some, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)["rows"]
    assert [row["id"] for row in rows] == [case["id"] for case in document["cases"]]
    assert all(row["predicted_peak_gib"] > 0 for row in rows)
    assert all(row["predicted_tokens_per_s_per_gpu"] > 0 for row in rows)

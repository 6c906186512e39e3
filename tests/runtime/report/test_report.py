"""The figures and the files of a report."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    Step,
    TrainFinished,
    TrainStarted,
)
from fsft.recipes.lock import Expected
from fsft.runtime.report.facts import ReportFacts, report_facts, thinned
from fsft.runtime.report.plot import plot_loss, smoothed
from fsft.runtime.report.report import render

DATA: dict[str, Any] = {
    "splits": {
        "train": {
            "sources": [
                {
                    "path": "/data/a|b.jsonl",
                    "format": "alpaca",
                    "num_read": 5,
                    "num_used": 3,
                    "num_broken": 1,
                    "num_empty": 1,
                    "num_too_long": 0,
                    "num_truncated": 0,
                    "num_fully_masked": 0,
                    "num_split": 6,
                    "num_merged": 7,
                    "num_trailing_dropped": 8,
                }
            ],
            "num_samples": 3,
            "num_rows": 2,
            "num_tokens": 50,
            "num_label_tokens": 20,
            "epoch_tokens": 50,
            "packing_efficiency": 0.5,
            "fewest_rows": 2,
        }
    }
}
NOTHING = Expected()
EVALUATION: dict[str, Any] = {
    "exact_match": 0.5,
    "num_questions": 2,
    "loss": 0.7,
    "perplexity": 2.01,
    "samples": [
        {
            "question": "你是谁？",
            "expected": "a|b",
            "before": "<script>alert(1)</script>",
            "after": "a|b",
        }
    ],
    "wrong": [{"question": "<b>", "expected": "x", "answer": "line\nbreak"}],
}


def started(first_step: int = 1, peak: float = 0.004) -> TrainStarted:
    return TrainStarted(
        num_processes=2,
        device="cpu",
        num_parameters=1000,
        num_matmul_parameters=900,
        total_steps=3,
        first_step=first_step,
        global_batch=4,
        peak_tflops=peak,
    )


def step(number: int, loss: float) -> Step:
    return Step(
        step=number,
        loss=loss,
        learning_rate=1e-3,
        grad_norm=1.0,
        tokens=100,
        flops=4e9,
        seconds=2.0,
        memory_bytes=10,
    )


def ended(*memory: int, stopped: bool = False) -> TrainFinished:
    return TrainFinished(step=3, stopped=stopped, memory_bytes=list(memory))


def facts_of(events: list[Event], planned: Expected = NOTHING) -> ReportFacts:
    return report_facts(
        events,
        name="run",
        description="what <it> is for",
        fsft_version="1",
        stage_seconds={"prepare": 1.0, "train": 61.0},
        data=DATA,
        evaluation=EVALUATION,
        planned=planned,
    )


def test_what_was_planned_stands_beside_what_was_measured() -> None:
    events: list[Event] = [started(), step(1, 3.0), step(2, 2.0), ended(7 * 2**30)]
    facts = facts_of(events, Expected(2.0**30, 8.0 * 2**30, 2.5))
    for template in ("report.md.jinja", "report.html.jinja"):
        text = render(template, facts, curve="")
        assert "2 s" in text
        assert "planned 2.5 s" in text
        assert "7.00 GiB" in text
        assert "8.00 GiB" in text
        assert "planned" not in render(template, facts_of(events), curve="")


def test_the_figures_follow_from_the_steps() -> None:
    facts = facts_of([started(), step(1, 3.0), step(2, 2.0), step(3, 1.0), ended(7, 9)])
    assert (facts.tokens, facts.train_seconds, facts.tokens_per_second) == (300, 6.0, 50.0)
    assert facts.epochs == 6.0
    assert facts.achieved_tflops == pytest.approx(0.002)
    assert facts.achieved_tflops_classical == pytest.approx(8 * 1000 * 300 / 6.0 / 1e12)
    assert facts.mfu == pytest.approx(0.5)
    assert (facts.first_loss, facts.final_loss) == (3.0, 2.0)
    assert facts.peak_memory_bytes == 9
    assert facts.loss_curve == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_resumed_training_counts_each_step_once_and_memory_over_all_calls() -> None:
    earlier = [started(), step(1, 9.0), step(2, 9.0), step(3, 9.0), ended(99, 99)]
    stopped = [started(), step(1, 3.0), step(2, 2.5), ended(9, 7, stopped=True)]
    resumed = [started(first_step=2), step(2, 2.0), step(3, 1.0), ended(8, 8)]
    facts = facts_of([*earlier, *stopped, *resumed])
    assert facts.loss_curve == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert facts.tokens == 300
    assert facts.peak_memory_bytes_per_process == [9, 8]


def eval_loss(number: int, loss: float) -> EvalLoss:
    return EvalLoss(step=number, loss=loss, is_best=False, seconds=1.0)


def saved(number: int, seconds: float) -> CheckpointSaved:
    return CheckpointSaved(step=number, path=f"checkpoints/{number}", seconds=seconds)


def test_the_eval_loss_is_told_with_its_lowest_and_why_training_ended() -> None:
    training = [started(), step(1, 3.0), eval_loss(1, 2.5), step(2, 2.0), eval_loss(2, 2.75)]
    facts = facts_of(
        [*training, TrainFinished(step=2, stopped=False, ended_early=True, memory_bytes=[1])]
    )
    assert facts.eval_curve == [(1, 2.5), (2, 2.75)]
    assert (facts.best_eval, facts.ended_early) == ((1, 2.5), True)
    for template in ("report.md.jinja", "report.html.jinja"):
        text = render(template, facts, curve="")
        assert "2.5000 after step 1" in text
        assert "2.7500" in text
        assert "ended early" in text
        plain = render(template, facts_of([started(), step(1, 3.0), ended(1)]), curve="")
        assert "eval loss" not in plain
        assert "ended early" not in plain


def test_the_wait_for_checkpoints_is_a_share_of_the_steps_and_counts_once_after_a_kill() -> None:
    killed = [
        started(),
        step(1, 3.0),
        saved(1, 0.5),
        step(2, 2.0),
        saved(2, 9.0),
        eval_loss(2, 9.0),
    ]
    resumed = [started(first_step=2), step(2, 2.0), saved(2, 0.25), eval_loss(2, 1.0), ended(1)]
    facts = facts_of([started(), saved(1, 99.0), *killed, *resumed])
    assert facts.checkpoint_wait_seconds == 0.75
    assert facts.checkpoint_wait_share == pytest.approx(0.75 / 4.0)
    assert facts.eval_curve == [(2, 1.0)]
    for template in ("report.md.jinja", "report.html.jinja"):
        assert "18.8%" in render(template, facts, curve="")


def test_without_a_known_peak_there_is_no_mfu() -> None:
    facts = facts_of([started(peak=0.0), step(1, 3.0), ended(1)])
    assert facts.mfu is None
    assert "not known" in render("report.md.jinja", facts)
    assert "not known" in render("report.html.jinja", facts, curve="<svg></svg>")


@given(st.integers(1, 60), st.integers(2, 20))
def test_a_thinned_curve_keeps_both_ends_and_its_order(length: int, most: int) -> None:
    steps = [step(number, 1.0) for number in range(1, length + 1)]
    kept = [point.step for point in thinned(steps, most)]
    assert len(kept) == min(length, most)
    assert (kept[0], kept[-1]) == (1, length)
    assert kept == sorted(set(kept))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_smoothing_starts_at_the_first_value_and_stays_within_bounds(values: list[float]) -> None:
    line = smoothed(values)
    assert line[0] == pytest.approx(values[0])
    assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for value in line)


def test_the_page_stands_alone_and_runs_nothing_that_the_model_wrote() -> None:
    facts = facts_of([started(), step(1, 3.0), ended(1)])
    page = render("report.html.jinja", facts, curve="<svg></svg>")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "what &lt;it&gt; is for" in page
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", page)
    assert "你是谁？" in page
    assert "50.0%" in page


def test_a_markdown_table_survives_what_the_model_wrote() -> None:
    text = render("report.md.jinja", facts_of([started(), step(1, 3.0), ended(1)]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "| 你是谁？ | &lt;script>alert(1)&lt;/script> | a\\|b | a\\|b |" in rows
    assert "| &lt;b> | line break | x |" in rows
    assert any("a\\|b.jsonl" in row and "| 6 | 7 | 8 | 0 |" in row for row in rows)


def test_the_eval_loss_is_drawn_beside_that_of_training(tmp_path: Path) -> None:
    curve = [(number, 5.0 / number) for number in range(1, 30)]
    for name, eval_curve in (("with.svg", [(10, 2.0), (20, 1.0)]), ("without.svg", [])):
        plot_loss(curve, [tmp_path / name], eval_curve)
    assert ">eval<" in (tmp_path / "with.svg").read_text()
    assert ">eval<" not in (tmp_path / "without.svg").read_text()


@pytest.mark.parametrize("length", [1, 3, 300])
def test_a_curve_of_any_length_is_drawn_as_picture_and_as_text(tmp_path: Path, length: int) -> None:
    files = [tmp_path / "loss.png", tmp_path / "loss.svg"]
    plot_loss([(number, 5.0 / number) for number in range(1, length + 1)], files)
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert "loss (nats per token)" in files[1].read_text()


def test_a_report_is_valid_json_without_nan(trained_folder: Path) -> None:
    (file,) = trained_folder.glob("runs/tiny-*/report/report.json")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    report = json.loads(file.read_text(), parse_constant=refuse)
    assert report["exact_match"] == 1.0
    assert report["samples"][0]["before"] != report["samples"][0]["after"]

"""What a person sees of a run."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    SampleShown,
    StageFinished,
    StageProgress,
    StageSkipped,
    StageStarted,
    Step,
    TrainStarted,
    Warned,
)
from fsft.runtime.event_log import EventLog
from fsft.runtime.progress import Pace, ProgressDisplay

SAMPLE = SampleShown(segments=[("user: hi\n", False), ("I am Fero.", True)])


def step(number: int, seconds: float) -> Step:
    return Step(
        step=number,
        loss=2.5,
        learning_rate=1e-3,
        grad_norm=1.0,
        tokens=1000,
        flops=1.0,
        seconds=seconds,
        memory_bytes=1,
    )


def shown(file: Path, events: list[Event], *, terminal: bool, no_color: bool = False) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, no_color=no_color, width=200)
    with ProgressDisplay(file, console):
        log = EventLog(file)
        for event in events:
            log.write(event)
    return output.getvalue()


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    text = shown(
        tmp_path / "events.jsonl",
        [
            StageSkipped(stage="prepare", reason="done before: 8 samples"),
            StageStarted(stage="train"),
            SAMPLE,
            Warned(message="look at this"),
            EvalLoss(step=2, loss=1.5, is_best=True, seconds=0.5),
            CheckpointSaved(step=2, path="checkpoints/step-2", seconds=0.25),
            EvalLoss(step=4, loss=1.75, is_best=False, seconds=0.5),
            StageFinished(stage="train", seconds=61, summary="2 steps"),
        ],
        terminal=False,
    )
    assert "\x1b" not in text
    assert text.splitlines() == [
        "· prepare: done before: 8 samples",
        "train …",
        "  the first sample; the model learns the marked part:",
        "user: hi⏎ ⟦I am Fero.⟧",
        "! look at this",
        "  eval loss 1.5000 after step 2, the lowest so far",
        "  checkpoint checkpoints/step-2 (0.2 s)",
        "  eval loss 1.7500 after step 4",
        "✓ train, 1 min 01 s: 2 steps",
    ]


def test_on_a_terminal_there_is_a_bar_with_the_time_left(tmp_path: Path) -> None:
    now = time.time()
    text = shown(
        tmp_path / "events.jsonl",
        [
            StageStarted(stage="evaluate"),
            StageProgress(stage="evaluate", task="answer", done=10, total=50, time=now),
            StageProgress(stage="evaluate", task="answer", done=20, total=50, time=now + 5),
        ],
        terminal=True,
    )
    assert "━" in text
    assert "20/50" in text
    assert "15.0 s left" in text


@pytest.mark.parametrize(("no_color", "is_marked"), [(True, True), (False, False)])
def test_what_is_learned_is_marked_where_colour_cannot_tell(
    tmp_path: Path, *, no_color: bool, is_marked: bool
) -> None:
    text = shown(tmp_path / "events.jsonl", [SAMPLE], terminal=True, no_color=no_color)
    assert ("⟦I am Fero.⟧" in text) == is_marked


def test_what_happened_before_is_not_told_again(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    EventLog(file).write(Warned(message="old"))
    with file.open("a") as torn:
        torn.write('{"event": "warn')
    text = shown(file, [Warned(message="new")], terminal=False)
    assert text == "! new\n"


def test_the_pace_smooths_the_speed() -> None:
    pace = Pace(total_steps=11)
    assert pace.note(step(1, 2.0)) == "loss 2.5000, 500 tokens/s, 20.0 s left"
    assert pace.note(step(2, 1.0)) == "loss 2.5000, 526 tokens/s, 17.1 s left"


def test_training_says_what_it_starts_from(tmp_path: Path) -> None:
    started = TrainStarted(
        num_processes=2,
        device="cpu",
        num_parameters=4_880_000,
        num_matmul_parameters=1,
        total_steps=9,
        first_step=4,
        global_batch=8,
        peak_tflops=0.25,
    )
    text = shown(tmp_path / "events.jsonl", [started], terminal=False)
    assert "resumes at step 4: 4.88M parameters, 2 × cpu, 9 steps of 8 rows" in text

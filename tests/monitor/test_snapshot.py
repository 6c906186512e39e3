"""What a look at a run shows follows from its events alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    Failed,
    RunFinished,
    RunStarted,
    StageFinished,
    StageProgress,
    StageSkipped,
    StageStarted,
    Step,
    TrainFinished,
    TrainStarted,
    Warned,
)
from fsft.recipes.lock import Expected
from fsft.wizard.monitor.snapshot import Snapshot, follow
from fsft.wizard.monitor.view import figure_lines


def started(first_step: int = 1, total: int = 10) -> TrainStarted:
    return TrainStarted(
        num_processes=2,
        device="cpu",
        num_parameters=1000,
        num_matmul_parameters=900,
        total_steps=total,
        first_step=first_step,
        global_batch=4,
        peak_tflops=2.0,
    )


def step(number: int, loss: float = 1.0, seconds: float = 0.5) -> Step:
    return Step(
        step=number,
        loss=loss,
        learning_rate=1e-3,
        grad_norm=1.0,
        tokens=100,
        flops=1e11,
        seconds=seconds,
        memory_bytes=2**30,
    )


def begun() -> list[Event]:
    return [
        RunStarted(time=100.0, name="tiny", fsft_version="0", stages=["prepare", "train"]),
        StageStarted(time=100.0, stage="prepare"),
        StageFinished(time=102.0, stage="prepare", seconds=2.0, summary="8 samples"),
        StageStarted(time=102.0, stage="train"),
        started(),
    ]


def test_stages_go_from_waiting_over_running_to_done() -> None:
    events = begun()
    assert [s.state for s in follow(Snapshot(), events[:1]).stages] == ["waiting", "waiting"]
    assert [s.state for s in follow(Snapshot(), events[:2]).stages] == ["running", "waiting"]
    snapshot = follow(Snapshot(), events)
    assert [s.state for s in snapshot.stages] == ["done", "running"]
    assert snapshot.stages[0].note == "8 samples"
    assert snapshot.stage is not None
    assert snapshot.stage.stage == "train"


def test_a_stage_that_is_skipped_says_why() -> None:
    events = [*begun()[:1], StageSkipped(stage="prepare", reason="nothing changed")]
    (first, _) = follow(Snapshot(), events).stages
    assert (first.state, first.note) == ("skipped", "nothing changed")


def test_speed_time_left_and_mfu_follow_from_the_steps() -> None:
    snapshot = follow(Snapshot(), [*begun(), *(step(n) for n in range(1, 5))])
    assert snapshot.tokens_per_second == pytest.approx(200)
    assert snapshot.training_left == pytest.approx(6 * 0.5)
    assert snapshot.mfu == pytest.approx(1e11 / 0.5 / 2e12)
    assert snapshot.memory == 2**30
    (_, train) = snapshot.stages
    assert (train.done, train.total) == (4, 10)


def test_a_slow_step_moves_the_pace_a_little() -> None:
    snapshot = follow(Snapshot(), [*begun(), step(1), step(2, seconds=5.5)])
    assert snapshot.seconds_per_step == pytest.approx(1.0)


def test_what_is_done_again_after_a_kill_replaces_what_was() -> None:
    events = [*begun(), *(step(n, loss=9.0) for n in range(1, 7)), started(first_step=4)]
    snapshot = follow(Snapshot(), [*events, step(4, loss=2.0)])
    assert snapshot.losses == ((1, 9.0), (2, 9.0), (3, 9.0), (4, 2.0))


def test_progress_of_a_stage_tells_the_time_that_is_left() -> None:
    events: list[Event] = begun()[:2]
    events.append(StageProgress(time=104.0, stage="prepare", task="tokenize", done=20, total=100))
    (prepare, _) = follow(Snapshot(), events).stages
    assert prepare.seconds_left(104.0) == pytest.approx(16.0)
    assert prepare.note == "tokenize"


def test_warnings_errors_and_checkpoints_are_kept() -> None:
    snapshot = follow(
        Snapshot(),
        [
            *begun(),
            Warned(message="odd rows"),
            CheckpointSaved(step=3, path="checkpoints/3", seconds=0.1),
            TrainFinished(step=3, stopped=False, memory_bytes=[2**31, 2**30]),
            Failed(stage="train", rank=1, message="out of memory"),
        ],
    )
    assert snapshot.messages == ("! odd rows", "✗ process 1: out of memory")
    assert snapshot.checkpoint is not None
    assert snapshot.checkpoint.step == 3
    assert snapshot.memory == 2**31
    assert snapshot.stages[1].state == "failed"


def eval_loss(number: int, loss: float, *, is_best: bool) -> EvalLoss:
    return EvalLoss(step=number, loss=loss, is_best=is_best, seconds=0.5)


def test_the_last_and_the_lowest_eval_loss_are_shown() -> None:
    events = [*begun(), step(2), eval_loss(2, 1.25, is_best=True)]
    snapshot = follow(Snapshot(), events)
    shown = [line.plain for line in figure_lines(snapshot, Expected())]
    assert "eval loss      1.2500" in shown
    snapshot = follow(snapshot, [step(4), eval_loss(4, 1.5, is_best=False)])
    shown = [line.plain for line in figure_lines(snapshot, Expected())]
    assert "eval loss      1.5000, lowest 1.2500" in shown
    anew = follow(snapshot, [started()])
    assert (anew.eval_loss, anew.best) == (None, None)


@pytest.mark.parametrize(
    ("code", "word"),
    [(0, "done"), (1, "failed"), (3, "failed"), (75, "stopped"), (130, "stopped"), (137, "failed")],
)
def test_how_it_ended_is_said_in_a_word(code: int, word: str) -> None:
    assert follow(Snapshot(), [*begun(), RunFinished(exit_code=code, seconds=3)]).verdict == word


def test_a_run_that_goes_on_has_no_verdict_of_its_last_end() -> None:
    ended = [*begun(), RunFinished(exit_code=75, seconds=3)]
    assert follow(Snapshot(), [*ended, begun()[0]]).verdict == ""


@given(st.data())
def test_it_does_not_matter_in_how_many_looks_the_events_come(data: st.DataObject) -> None:
    events: list[Event] = [*begun(), *(step(n, loss=1 / n) for n in range(1, 9))]
    events += [
        started(first_step=5),
        eval_loss(4, 2.0, is_best=True),
        step(5),
        RunFinished(exit_code=0, seconds=1),
    ]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    snapshot = Snapshot()
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        snapshot = follow(snapshot, events[start:end])
    assert snapshot == follow(Snapshot(), events)


def test_no_time_is_left_once_the_last_step_is_done() -> None:
    snapshot = follow(Snapshot(), [*begun(), step(12)])
    assert snapshot.training_left == 0

"""The eval loss while training: the same in any layout, and of no effect on training."""

from pathlib import Path

import pytest

from fsft.recipes.events import EvalLoss, Step
from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.training import prepared, train_with, trained
from tests.support import (
    QUESTIONS,
    TINY_RECIPE,
    dialogue,
    events_of,
    steps_in,
    write_jsonl,
    write_tiny_recipe,
)

WITH_EVAL = TINY_RECIPE.replace(
    "[data.tokenizer]", '[[data.eval]]\npath = "eval.jsonl"\n\n[data.tokenizer]'
)
SLOW = pytest.mark.slow
BATCH = ("data.packing=false", "evaluate.every=2", "checkpoint.every=1000")
WHOLE = ("parallel.micro_batch=8", "parallel.zero=0", *BATCH)


def write_recipe_with_eval(folder: Path) -> Path:
    """The tiny recipe with eval data: five rows, which no layout divides evenly."""
    write_jsonl(folder / "eval.jsonl", [dialogue(q, a[::-1]) for q, a in QUESTIONS[:5]])
    return write_tiny_recipe(folder, WITH_EVAL)


def eval_losses(run: RunDirectory) -> list[EvalLoss]:
    return [event for event in events_of(run.path) if isinstance(event, EvalLoss)]


def steps_without_time(run: RunDirectory) -> list[tuple[int, float, float]]:
    return [(step.step, step.loss, step.grad_norm) for step in steps_in(run.path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One process that computes all rows at once."""
    return trained(
        tmp_path_factory.mktemp("whole") / "run",
        *WHOLE,
        num_processes=1,
        write_recipe=write_recipe_with_eval,
    )


@pytest.mark.parametrize(
    ("num_processes", "layout"),
    [
        (2, ("micro_batch=2", "gradient_accumulation=2", "zero=1")),
        pytest.param(
            *(2, ("micro_batch=4", "gradient_accumulation=2", "zero=1", "sequence=2")), marks=SLOW
        ),
        pytest.param(*(2, ("micro_batch=2", "gradient_accumulation=4", "pipeline=2")), marks=SLOW),
        pytest.param(*(4, ("micro_batch=2", "gradient_accumulation=2", "pipeline=2")), marks=SLOW),
        pytest.param(2, ("micro_batch=4", "zero=3"), marks=SLOW),
        pytest.param(2, ("micro_batch=4", "gradient_accumulation=2", "tensor=2"), marks=SLOW),
        pytest.param(4, ("micro_batch=2", "zero=2"), marks=SLOW),
        pytest.param(1, ("micro_batch=1", "gradient_accumulation=8", "zero=1"), marks=SLOW),
    ],
)
def test_the_eval_loss_is_the_same_in_any_layout(
    tmp_path: Path, whole: RunDirectory, num_processes: int, layout: tuple[str, ...]
) -> None:
    run = trained(
        tmp_path / "run",
        *BATCH,
        *(f"parallel.{setting}" for setting in layout),
        num_processes=num_processes,
        write_recipe=write_recipe_with_eval,
    )
    expected, found = eval_losses(whole), eval_losses(run)
    # After every second step, and at the end.
    assert [event.step for event in found] == [event.step for event in expected] == [2, 3]
    for one, other in zip(expected, found, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.is_best == one.is_best


def test_looking_at_eval_data_changes_nothing_in_training(
    tmp_path: Path, whole: RunDirectory
) -> None:
    without = trained(tmp_path / "run", *WHOLE, num_processes=1)
    assert steps_without_time(without) == steps_without_time(whole)
    assert not eval_losses(without)


@SLOW
@pytest.mark.parametrize("zero", [1, 3])
def test_looking_at_eval_data_draws_no_random_numbers_of_training(
    tmp_path: Path, zero: int
) -> None:
    one, other = (
        trained(
            tmp_path / write_recipe.__name__,
            *(f"parallel.zero={zero}", "model.config.attention_dropout=0.1", *BATCH),
            num_processes=2,
            write_recipe=write_recipe,
        )
        for write_recipe in (write_tiny_recipe, write_recipe_with_eval)
    )
    assert steps_without_time(one) == steps_without_time(other)
    assert len(eval_losses(other)) == 2


@pytest.mark.parametrize(("zero", "num_processes"), [(1, 1), pytest.param(3, 2, marks=SLOW)])
def test_what_was_due_at_a_stop_is_looked_at_when_training_goes_on(
    tmp_path: Path, zero: int, num_processes: int
) -> None:
    run = prepared(
        tmp_path / "run",
        *("data.packing=false", "evaluate.every=1", f"parallel.zero={zero}"),
        write_recipe=write_recipe_with_eval,
    )
    run.stop_file.touch()
    train_with(run, num_processes)
    assert not eval_losses(run)
    run.stop_file.unlink()
    train_with(run, num_processes)
    told = [event for event in events_of(run.path) if isinstance(event, EvalLoss | Step)]
    assert [event.step for event in told] == [1, 1, 2, 2, 3, 3]
    assert [event.event for event in told] == ["step", "eval_loss"] * 3

"""A run that stopped is not begun anew in silence, because each step has other rows."""

import json
from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.recipes.writing import to_toml
from fsft.runtime.resume import anew_for_other_batches, require_same_batch
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import MARK, CheckpointMark
from tests.support import TINY_RECIPE

TWO_REPLICAS = (
    "parallel.micro_batch=2",
    "parallel.gradient_accumulation=2",
    "hardware.devices_per_node=2",
)
"""Eight rows a step."""


def recipe_of(*overrides: str) -> Recipe:
    return parse_recipe(TINY_RECIPE, overrides=[*TWO_REPLICAS, *overrides])


def stopped(folder: Path) -> RunDirectory:
    """A run of two replicas after two of its steps; returns the place of another."""
    run = RunDirectory(folder / "tiny-before")
    checkpoint = run.checkpoints / "step-00000002"
    checkpoint.mkdir(parents=True)
    run.recipe_file.write_text(to_toml(recipe_of()))
    mark = CheckpointMark(step=2, num_processes=2, zero=1, global_batch=8, model="")
    (checkpoint / MARK).write_text(json.dumps(mark.as_json()))
    return RunDirectory(folder / "tiny-after")


@pytest.mark.parametrize("key", ["pipeline", "tensor", "sequence"])
def test_as_many_processes_that_hold_one_model_together_are_refused_with_what_goes_on(
    tmp_path: Path, key: str
) -> None:
    after = stopped(tmp_path)
    with pytest.raises(Refused) as refused:
        require_same_batch(after, recipe_of(f"parallel.{key}=2"), 2)
    (problem,) = refused.value.problems
    assert "was trained with a global batch of 8 rows" in problem.reason
    assert "2 × gradient_accumulation 2 × 1 replicas would make it 4" in problem.reason
    assert problem.example == (
        "--set parallel.micro_batch=2 --set parallel.gradient_accumulation=4"
    )


def test_other_rows_a_step_that_are_asked_for_begin_anew_and_that_is_said(tmp_path: Path) -> None:
    after, recipe = stopped(tmp_path), recipe_of("parallel.gradient_accumulation=4")
    require_same_batch(after, recipe, 2)
    (said,) = anew_for_other_batches(after, recipe, 16)
    assert said == (
        "tiny-before stopped after step 2 with 8 rows a step. With 16 it is not gone on: "
        "tiny-after begins anew."
    )


def test_of_runs_that_differ_in_more_nothing_is_said(tmp_path: Path) -> None:
    after, recipe = stopped(tmp_path), recipe_of("parallel.pipeline=2", "seed=8")
    require_same_batch(after, recipe, 2)
    assert list(anew_for_other_batches(after, recipe, 4)) == []


def test_a_run_that_has_begun_goes_on_without_a_word(tmp_path: Path) -> None:
    after, recipe = stopped(tmp_path), recipe_of("parallel.gradient_accumulation=4")
    after.path.mkdir()
    require_same_batch(after, recipe, 2)
    assert list(anew_for_other_batches(after, recipe, 16)) == []

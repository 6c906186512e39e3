"""Trainings as they really run, and how they are compared."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fsft.recipes.events import Step
from fsft.recipes.files import read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.writing import to_toml
from fsft.runtime.context import StageContext
from fsft.runtime.convert.weights import checkpoint_weights
from fsft.runtime.data.prepare import prepare
from fsft.runtime.event_log import EventLog
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import latest_checkpoint
from tests.runtime.train.forked import train_in_forks
from tests.support import write_tiny_recipe

STEPS = "budget.steps=3"
CALM = "optimizer.eps=1e-5"
"""Else Adam moves a weight without a gradient by as much as the rounding of others decides."""


def trained(
    folder: Path,
    *overrides: str,
    num_processes: int,
    write_recipe: Callable[[Path], Path] = write_tiny_recipe,
) -> RunDirectory:
    """A run that is prepared and trained with `num_processes`, by the real training program."""
    run = prepared(folder, *overrides, write_recipe=write_recipe)
    train_with(run, num_processes)
    return run


def prepared(
    folder: Path,
    *overrides: str,
    write_recipe: Callable[[Path], Path] = write_tiny_recipe,
    prepare_data: bool = True,
) -> RunDirectory:
    """A run that is ready to be trained; without `prepare_data` only its recipe is written."""
    folder.mkdir(exist_ok=True)
    recipe_file = write_recipe(folder)
    recipe = resolve_paths(read_recipe(recipe_file, [STEPS, CALM, *overrides]), folder)
    run = RunDirectory(folder / "run")
    if prepare_data:
        events = EventLog(run.events_file)
        prepare(StageContext("prepare", recipe, run, events, fingerprint=""))
    run.recipe_file.write_text(to_toml(recipe))
    return run


def train_with(run: RunDirectory, num_processes: int, *, fails: bool = False) -> str:
    """Train by the real training program; returns the log of the first process."""
    done = train_in_forks(run, num_processes)
    log = (run.logs / "rank-0.log").read_text()
    assert done != fails, log[-3000:]
    return log


def weights_of(run: RunDirectory) -> dict[str, torch.Tensor]:
    """The float32 weights of the newest checkpoint."""
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    weights = checkpoint_weights(run.checkpoints / mark.tag, mark)
    return {name: weight.contiguous().float() for name, weight in weights.items()}


def assert_same_training(one: list[Step], other: list[Step], tolerance: float) -> None:
    """Three steps each, of the same losses and norms."""
    assert len(one) == len(other) == 3
    for a, b in zip(one, other, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=tolerance)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=tolerance)
        assert b.learning_rate == a.learning_rate
        assert b.tokens == a.tokens

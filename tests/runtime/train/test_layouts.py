"""Training gives the same numbers however the work is spread."""

import os
import subprocess
import sys
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
from tests.support import steps_in, write_tiny_recipe

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
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(num_processes), "-m", "fsft.runtime.train", run.path, "cpu"),
    ]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    log = (run.logs / "rank-0.log").read_text()
    assert (done.returncode != 0) == fails, log[-3000:]
    return log


def weights_of(run: RunDirectory) -> dict[str, torch.Tensor]:
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    weights = checkpoint_weights(run.checkpoints / mark.tag, zero_stage=mark.zero)
    return {name: weight.contiguous().float() for name, weight in weights.items()}


def assert_same_training(one: list[Step], other: list[Step], tolerance: float) -> None:
    assert len(one) == len(other) == 3
    for a, b in zip(one, other, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=tolerance)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=tolerance)
        assert b.learning_rate == a.learning_rate
        assert b.tokens == a.tokens


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One process, one micro batch of eight rows, no ZeRO."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    return trained(
        folder, "parallel.micro_batch=8", "parallel.zero=0", "data.packing=false", num_processes=1
    )


@pytest.mark.parametrize(
    ("num_processes", "micro_batch", "accumulation", "zero"),
    [
        (1, 2, 4, 1),
        (2, 1, 4, 2),
        (2, 4, 1, 3),
        pytest.param(4, 2, 1, 0, marks=pytest.mark.slow),
        pytest.param(1, 1, 8, 0, marks=pytest.mark.slow),
        pytest.param(2, 2, 2, 0, marks=pytest.mark.slow),
        pytest.param(2, 2, 2, 1, marks=pytest.mark.slow),
        pytest.param(4, 1, 2, 3, marks=pytest.mark.slow),
    ],
)
def test_a_split_of_the_same_batch_gives_the_same_losses_norms_and_weights(
    tmp_path: Path,
    reference: RunDirectory,
    num_processes: int,
    micro_batch: int,
    accumulation: int,
    zero: int,
) -> None:
    run = trained(
        tmp_path / "run",
        f"parallel.micro_batch={micro_batch}",
        f"parallel.gradient_accumulation={accumulation}",
        f"parallel.zero={zero}",
        "data.packing=false",
        num_processes=num_processes,
    )
    assert_same_training(steps_in(reference.path), steps_in(run.path), tolerance=2e-5)
    expected, found = weights_of(reference), weights_of(run)
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_recomputed_activations_change_nothing(
    tmp_path: Path, reference: RunDirectory, checkpointing: str
) -> None:
    run = trained(
        tmp_path / "run",
        "parallel.micro_batch=8",
        "parallel.zero=0",
        "data.packing=false",
        f'parallel.activation_checkpointing="{checkpointing}"',
        num_processes=1,
    )
    assert_same_training(steps_in(reference.path), steps_in(run.path), tolerance=1e-6)


@pytest.mark.parametrize("zero", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_bf16_stays_near_float32(tmp_path: Path, reference: RunDirectory, zero: int) -> None:
    run = trained(
        tmp_path / "run",
        "parallel.micro_batch=4",
        f"parallel.zero={zero}",
        "data.packing=false",
        'model.dtype="bfloat16"',
        num_processes=2,
    )
    for exact, rounded in zip(steps_in(reference.path), steps_in(run.path), strict=True):
        assert rounded.loss == pytest.approx(exact.loss, rel=2e-2)
        assert rounded.grad_norm == pytest.approx(exact.grad_norm, rel=5e-2)

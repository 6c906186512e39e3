"""A run goes on with another number of processes, and at another ZeRO stage."""

import shutil
from pathlib import Path

import pytest
import torch

from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.training import (
    assert_same_training,
    prepared,
    train_with,
    weights_of,
)
from tests.support import events_of, steps_in

BATCH = 8
PLAIN = ("data.packing=false", "optimizer.weight_decay=0.1", "checkpoint.every=2")


def layout(num_processes: int, zero: int) -> tuple[str, ...]:
    return (
        f"parallel.zero={zero}",
        "parallel.micro_batch=1",
        f"parallel.gradient_accumulation={BATCH // num_processes}",
        f"hardware.devices_per_node={num_processes}",
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = prepared(tmp_path_factory.mktemp("whole") / "run", *PLAIN, *layout(1, 0))
    train_with(run, 1)
    return run


def stopped_after_two_steps(folder: Path, num_processes: int, zero: int) -> RunDirectory:
    """A run as a kill in its third step leaves it."""
    run = prepared(folder, *PLAIN, *layout(num_processes, zero))
    train_with(run, num_processes)
    (run.checkpoints / "step-00000003").rename(folder / "lost")
    return run


def relaid(run: RunDirectory, *overrides: str) -> RunDirectory:
    """The same run with its recipe changed."""
    prepared(run.path.parent, *PLAIN, *overrides, prepare_data=False)
    return run


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1, 1), (2, 1)),
        ((2, 1), (2, 3)),
        ((2, 3), (1, 1)),
        ((1, 0), (2, 2)),
        pytest.param((2, 2), (4, 2), marks=pytest.mark.slow),
        pytest.param((4, 2), (2, 2), marks=pytest.mark.slow),
        pytest.param((2, 3), (4, 3), marks=pytest.mark.slow),
        pytest.param((2, 2), (1, 0), marks=pytest.mark.slow),
        pytest.param((2, 3), (2, 0), marks=pytest.mark.slow),
        pytest.param((2, 0), (1, 0), marks=pytest.mark.slow),
    ],
)
def test_a_run_gone_on_with_in_another_layout_is_as_one_never_interrupted(
    tmp_path: Path,
    uninterrupted: RunDirectory,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    run = stopped_after_two_steps(tmp_path / "run", *before)
    relaid(run, *layout(*after))
    train_with(run, after[0])
    assert [event.step for event in events_of(run.path) if event.event == "step"] == [1, 2, 3, 3]
    assert_same_training(steps_in(uninterrupted.path), steps_in(run.path), tolerance=2e-5)
    expected, found = weights_of(uninterrupted), weights_of(run)
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)
    assert not (run.checkpoints / ".universal").exists()


def test_other_rows_a_step_are_refused_with_values_that_keep_them(tmp_path: Path) -> None:
    run = stopped_after_two_steps(tmp_path / "run", 1, 1)
    relaid(run, "parallel.micro_batch=2", "parallel.gradient_accumulation=4")
    message = train_with(run, 2, fails=True)
    assert "was trained with a global batch of 8 rows (1 processes)" in message
    assert "--set parallel.micro_batch=2 --set parallel.gradient_accumulation=2" in message
    assert (run.checkpoints / "step-00000002").exists()
    shutil.rmtree(run.path)

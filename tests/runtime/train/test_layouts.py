"""What is computed again, or rounded, changes little in training or nothing."""

from pathlib import Path

import pytest

from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.training import assert_same_training, trained
from tests.support import steps_in


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One process, one micro batch of eight rows, no ZeRO."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    return trained(
        folder, "parallel.micro_batch=8", "parallel.zero=0", "data.packing=false", num_processes=1
    )


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


@pytest.mark.parametrize("zero", [1, *(pytest.param(z, marks=pytest.mark.slow) for z in (0, 3))])
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

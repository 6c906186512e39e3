"""Training with states off the device gives the same numbers as without, and goes on from them."""

from pathlib import Path

import pytest
import torch

from fsft.recipes.schema import Parallel
from fsft.runtime.offloading import offload_problems
from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.training import (
    assert_same_training,
    prepared,
    train_with,
    trained,
    weights_of,
)
from tests.support import events_of, steps_in

SLOW = pytest.mark.slow
BATCH = 8
DATA = (
    "data.packing=false",
    "optimizer.weight_decay=0.1",
    "optimizer.clip=0.5",
    "checkpoint.every=2",
    "model.config.hidden_size=128",
    "model.config.intermediate_size=512",
    "model.config.num_hidden_layers=3",
)
"""Large enough for disks: DeepSpeed leaves in memory what is smaller than 1 MiB."""
NVME = Parallel(
    zero=3, offload_optimizer="nvme", offload_weights="nvme", offload_path="/local_nvme"
)
needs_libaio = pytest.mark.skipif(
    any("libaio" in problem.reason for problem in offload_problems(NVME)),
    reason="libaio is not installed",
)

Where = tuple[int, int, str, str]
"""Processes, ZeRO stage, and where optimizer and weights are."""


def layout(folder: Path, where: Where) -> tuple[str, ...]:
    num_processes, zero, optimizer, weights = where
    return (
        *DATA,
        "parallel.micro_batch=2",
        f"parallel.gradient_accumulation={BATCH // 2 // num_processes}",
        f"hardware.devices_per_node={num_processes}",
        f"parallel.zero={zero}",
        f'parallel.offload_optimizer="{optimizer}"',
        f'parallel.offload_weights="{weights}"',
        f'parallel.offload_path="{folder / "disk"}"',
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One process that offloads nothing."""
    folder = tmp_path_factory.mktemp("reference")
    return trained(folder / "run", *layout(folder, (1, 0, "none", "none")), num_processes=1)


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    assert_same_training(steps_in(one.path), steps_in(other.path), tolerance=2e-5)
    expected, found = weights_of(one), weights_of(other)
    assert expected.keys() == found.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)


@pytest.mark.parametrize(
    "where",
    [
        (2, 2, "cpu", "none"),
        *(
            pytest.param((num_processes, zero, "cpu", weights), marks=SLOW)
            for num_processes in (1, 2)
            for zero, weights in ((1, "none"), (2, "none"), (3, "none"), (3, "cpu"))
            if (num_processes, zero) != (2, 2)
        ),
        *(
            pytest.param((num_processes, 3, "nvme", weights), marks=(SLOW, needs_libaio))
            for num_processes in (1, 2)
            for weights in ("none", "cpu", "nvme")
        ),
    ],
)
def test_offloaded_states_give_the_same_losses_norms_and_weights(
    tmp_path: Path, reference: RunDirectory, where: Where
) -> None:
    run = trained(tmp_path / "run", *layout(tmp_path, where), num_processes=where[0])
    assert_same(reference, run)
    assert not list((tmp_path / "disk").glob("*/**/*"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 2, "cpu", "none"), (2, 2, "none", "none")),
        pytest.param((2, 1, "none", "none"), (2, 1, "cpu", "none"), marks=SLOW),
        pytest.param((2, 3, "none", "none"), (2, 3, "cpu", "cpu"), marks=SLOW),
        pytest.param((2, 3, "cpu", "cpu"), (2, 3, "cpu", "cpu"), marks=SLOW),
        pytest.param((2, 3, "cpu", "none"), (1, 1, "none", "none"), marks=SLOW),
        pytest.param((1, 0, "none", "none"), (2, 2, "cpu", "none"), marks=SLOW),
        pytest.param((2, 3, "nvme", "nvme"), (2, 3, "nvme", "nvme"), marks=(SLOW, needs_libaio)),
        pytest.param((2, 3, "nvme", "none"), (2, 3, "none", "none"), marks=(SLOW, needs_libaio)),
        pytest.param((2, 3, "none", "none"), (2, 3, "nvme", "nvme"), marks=(SLOW, needs_libaio)),
        pytest.param((1, 1, "none", "none"), (2, 3, "nvme", "none"), marks=(SLOW, needs_libaio)),
        pytest.param((2, 3, "nvme", "cpu"), (1, 2, "cpu", "none"), marks=(SLOW, needs_libaio)),
    ],
)
def test_a_run_goes_on_with_its_states_elsewhere(
    tmp_path: Path, reference: RunDirectory, before: Where, after: Where
) -> None:
    run = prepared(tmp_path / "run", *layout(tmp_path, before))
    train_with(run, before[0])
    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")
    prepared(tmp_path / "run", *layout(tmp_path, after), prepare_data=False)
    train_with(run, after[0])
    assert [event.step for event in events_of(run.path) if event.event == "step"] == [1, 2, 3, 3]
    assert_same(reference, run)


def test_without_libaio_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A linker that finds no library is one of a machine without libaio.
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    (problem,) = offload_problems(NVME.model_copy(update={"offload_path": str(tmp_path)}))
    assert "libaio-dev" in problem.example


def test_offloading_to_disks_needs_a_path() -> None:
    with pytest.raises(ValueError, match="needs offload_path"):
        Parallel(zero=3, offload_optimizer="nvme")

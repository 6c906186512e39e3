"""Checkpoints of weights alone: converted as others are, and not gone on from."""

from pathlib import Path

import pytest
import torch

from fsft.recipes.problems import Refused
from fsft.runtime.resume import require_optimizer
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import latest_checkpoint
from fsft.runtime.train.weights_only import weights_of as without_moments
from tests.runtime.train.training import prepared, train_with, trained, weights_of
from tests.support import steps_in

LAYOUT = (
    *("parallel.micro_batch=4", "data.packing=false"),
    "model.config.tie_word_embeddings=false",
)
SLOW = pytest.mark.slow


def num_bytes(run: RunDirectory) -> int:
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    return sum(size for name, size in mark.files.items() if name.endswith(".pt"))


@pytest.mark.parametrize(
    ("zero", "tensor"),
    [(1, 1), *(pytest.param(*other, marks=SLOW) for other in ((0, 1), (2, 1), (3, 1), (1, 2)))],
)
def test_weights_alone_are_those_of_a_whole_checkpoint_and_much_smaller(
    tmp_path: Path, zero: int, tensor: int
) -> None:
    layout = (*LAYOUT, f"parallel.zero={zero}", f"parallel.tensor={tensor}")
    run = trained(tmp_path / "run", *layout, "checkpoint.weights_only=true", num_processes=2)
    whole = trained(tmp_path / "whole", *layout, num_processes=2)
    expected, found = weights_of(whole), weights_of(run)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    # Weights twice with ZeRO, in float32, of what is weights twice and two moments.
    assert num_bytes(run) < (0.65 if zero else 0.45) * num_bytes(whole)
    longer = prepared(
        tmp_path / "run", *layout, "budget.steps=4", "checkpoint.weights_only=true",
        prepare_data=False,
    )  # fmt: skip
    message = train_with(longer, 2, fails=True)
    assert "step-00000003: holds weights alone (checkpoint.weights_only)" in message
    with pytest.raises(Refused, match=r"cannot go on from it.*begins anew"):
        require_optimizer(longer)


@SLOW
def test_a_stop_saves_all_that_is_needed_to_go_on(tmp_path: Path) -> None:
    run = prepared(tmp_path / "run", *LAYOUT, "checkpoint.weights_only=true")
    run.stop_file.touch()
    train_with(run, 1)
    run.stop_file.unlink()
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    assert (mark.step, mark.weights_only) == (1, False)
    require_optimizer(run)
    train_with(run, 1)
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    assert (mark.step, mark.weights_only) == (3, True)
    assert [step.step for step in steps_in(run.path)] == [1, 2, 3]


def test_what_is_taken_out_is_the_moments_and_what_is_given_stays() -> None:
    plain = {"module": {"w": 1}, "optimizer": {"state": 2}, "lr_scheduler": 3}
    one = {"optimizer_state_dict": {"base_optimizer_state": 1, "zero_stage": 1}, "ds_version": 2}
    three = {"optimizer_state_dict": {"optimizer_state_dict": 1, "fp32_flat_groups": [3]}}
    assert without_moments(plain) == {**plain, "optimizer": None}
    assert without_moments(one) == {"optimizer_state_dict": {"zero_stage": 1}, "ds_version": 2}
    assert without_moments(three) == {"optimizer_state_dict": {"fp32_flat_groups": [3]}}
    assert plain["optimizer"] == {"state": 2}
    assert "base_optimizer_state" in one["optimizer_state_dict"]  # type: ignore[operator]

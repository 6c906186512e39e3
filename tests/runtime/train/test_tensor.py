"""Weights that are divided among processes train as whole ones do."""

from pathlib import Path

import pytest

from tests.runtime.train.test_layouts import assert_same_training, trained
from tests.support import steps_in

WHOLE = ("parallel.micro_batch=4", "parallel.gradient_accumulation=2", "parallel.zero=0")
CLIPPED = "optimizer.clip=0.1"
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("tensor", "replicas", "sequence", "zero", "model"),
    [
        (2, 1, 1, 1, ()),
        (2, 1, 1, 0, ()),
    ],
)
def test_divided_weights_give_the_same_losses_norms_and_weights(
    tmp_path: Path, tensor: int, replicas: int, sequence: int, zero: int, model: tuple[str, ...]
) -> None:
    whole = trained(tmp_path / "whole", *WHOLE, CLIPPED, *model, num_processes=1)
    divided = trained(
        tmp_path / "divided",
        "parallel.micro_batch=2",
        f"parallel.gradient_accumulation={4 // replicas}",
        f"parallel.zero={zero}",
        f"parallel.tensor={tensor}",
        f"parallel.sequence={sequence}",
        CLIPPED,
        *model,
        num_processes=tensor * replicas * sequence,
    )
    assert_same_training(steps_in(whole.path), steps_in(divided.path), tolerance=2e-5)

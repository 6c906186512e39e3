"""Images are learned the same however the work is spread, also where a process has none."""

from functools import partial
from pathlib import Path

import pytest

from tests.image_support import write_image_recipe
from tests.runtime.data.images.models import FAMILIES
from tests.runtime.train.training import assert_same_training, trained, weights_of
from tests.support import steps_in


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_of_the_same_batch_gives_the_same_losses_norms_and_weights(
    family: str, tmp_path: Path
) -> None:
    write_recipe = partial(write_image_recipe, family=family)
    whole = trained(
        tmp_path / "whole",
        "parallel.zero=0",
        "parallel.micro_batch=8",
        "data.packing=false",
        num_processes=1,
        write_recipe=write_recipe,
    )
    expected = weights_of(whole)
    for zero, tensor in ((1, 1), (2, 1), (3, 1), (1, 2)):
        # Of single rows, half have no image: one process sees, and the other one does not.
        split = trained(
            tmp_path / f"zero-{zero}-tensor-{tensor}",
            f"parallel.zero={zero}",
            f"parallel.tensor={tensor}",
            f"parallel.gradient_accumulation={4 * tensor}",
            "data.packing=false",
            num_processes=2,
            write_recipe=write_recipe,
        )
        assert_same_training(steps_in(whole.path), steps_in(split.path), tolerance=1e-4)
        for name, weight in weights_of(split).items():
            assert weight.allclose(expected[name], atol=1e-4), name

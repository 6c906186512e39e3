"""Work in the background, and copies that training does not change."""

import pytest
import torch

from fsft.runtime.train.background import Background, snapshot


def test_a_snapshot_keeps_its_values_and_what_is_shared() -> None:
    weight = torch.arange(4.0)
    state = {"tied": [weight, weight.view(4)], "part": (weight[:2], 1), "step": 3}
    copy = snapshot(state, {})
    weight.zero_()
    assert copy["tied"][0].tolist() == [0, 1, 2, 3]
    assert copy["tied"][0] is copy["tied"][1]
    assert copy["part"][0].tolist() == [0, 1]
    assert copy["part"][0].untyped_storage().nbytes() == 8
    assert (copy["part"][1], copy["step"]) == (1, 3)


def test_what_went_wrong_in_the_background_is_raised_where_it_is_waited_for() -> None:
    background = Background()

    def fail() -> None:
        raise OSError("no space")

    background.start(fail)
    with pytest.raises(OSError, match="no space"):
        background.wait()
    background.wait()

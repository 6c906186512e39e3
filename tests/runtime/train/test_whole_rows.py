"""Attention over whole rows leaves out what each position may not see."""

import torch

from fsft.runtime.train.whole_rows import mask_of


def test_a_position_sees_what_is_before_it_in_its_sample_and_window() -> None:
    mask = mask_of(torch.tensor([[0, 1, 2, 3, 0, 1]]), sliding_window=3)
    assert mask is not None
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_a_row_of_one_sample_needs_no_mask() -> None:
    assert mask_of(torch.arange(6)[None], sliding_window=None) is None
    assert mask_of(torch.arange(6)[None], sliding_window=6) is None

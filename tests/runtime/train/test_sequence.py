"""Rows that are divided among processes train as whole rows do."""

from pathlib import Path

import pytest
import torch

from fsft.runtime.train.whole_rows import mask_of
from tests.runtime.train.test_layouts import assert_same_training, trained, weights_of
from tests.support import steps_in

WHOLE = ("parallel.micro_batch=4", "parallel.gradient_accumulation=2", "parallel.zero=0")
SLOW = pytest.mark.slow
MOE = (
    'model.config.model_type="qwen2_moe"',
    "model.config.num_experts=4",
    "model.config.num_experts_per_tok=2",
    "model.config.moe_intermediate_size=32",
    "model.config.shared_expert_intermediate_size=32",
)


@pytest.mark.parametrize("packing", ["true", pytest.param("false", marks=SLOW)])
@pytest.mark.parametrize(
    ("sequence", "replicas", "zero", "model"),
    [
        (2, 1, 1, ()),
        pytest.param(2, 1, 3, (), marks=SLOW),
        pytest.param(2, 2, 2, (), marks=SLOW),
        pytest.param(4, 1, 0, (), marks=SLOW),
        pytest.param(2, 1, 1, ('model.config.model_type="qwen2"',), marks=SLOW),
        pytest.param(2, 1, 1, MOE, marks=SLOW),
    ],
)
def test_rows_divided_among_processes_give_the_same_losses_norms_and_weights(
    tmp_path: Path, sequence: int, replicas: int, zero: int, model: tuple[str, ...], packing: str
) -> None:
    data = (f"data.packing={packing}", *model)
    whole = trained(tmp_path / "whole", *WHOLE, *data, num_processes=1)
    divided = trained(
        tmp_path / "divided",
        "parallel.micro_batch=2",
        f"parallel.gradient_accumulation={4 // replicas}",
        f"parallel.zero={zero}",
        f"parallel.sequence={sequence}",
        *data,
        num_processes=sequence * replicas,
    )
    assert_same_training(steps_in(whole.path), steps_in(divided.path), tolerance=2e-5)
    expected, found = weights_of(whole), weights_of(divided)
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)


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

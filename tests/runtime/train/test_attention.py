"""Which attention a model gets, and what its samples see of each other."""

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Model
from fsft.runtime.train.model import attention_kernel, joins_rows
from fsft.runtime.train.whole_rows import attention_over


def installed(monkeypatch: pytest.MonkeyPatch, *versions: int) -> None:
    for version in (2, 3):
        monkeypatch.setattr(
            f"transformers.utils.is_flash_attn_{version}_available",
            lambda version=version: version in versions,
        )


@pytest.mark.parametrize(
    ("versions", "accelerator", "dtype", "expected"),
    [
        ((2, 3), "cuda", "bfloat16", "flash_attention_3"),
        ((2,), "cuda", "bfloat16", "flash_attention_2"),
        ((), "cuda", "bfloat16", "sdpa"),
        ((2, 3), "cuda", "float32", "sdpa"),
        ((2, 3), "cpu", "bfloat16", "sdpa"),
    ],
)
def test_auto_is_the_newest_flash_attention_that_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    versions: tuple[int, ...],
    accelerator: str,
    dtype: str,
    expected: str,
) -> None:
    installed(monkeypatch, *versions)
    model = Model.model_validate({"path": "m", "dtype": dtype})
    assert attention_kernel(model, accelerator) == expected


@pytest.mark.parametrize(
    "kernel", ["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
)
def test_a_kernel_that_is_asked_for_is_taken_and_known_to_transformers(kernel: str) -> None:
    model = Model.model_validate({"path": "m", "attention": kernel})
    assert attention_kernel(model, "cuda") == kernel
    assert kernel == "eager" or kernel in ALL_ATTENTION_FUNCTIONS


def test_flex_attention_is_refused_where_it_has_no_gradients() -> None:
    model = Model.model_validate({"path": "m", "attention": "flex_attention"})
    with pytest.raises(Refused, match="no gradients on a cpu"):
        attention_kernel(model, "cpu")


def test_kernels_that_skip_other_samples_compute_all_rows_as_one() -> None:
    joining = {k for k in ("sdpa", "eager", "flash_attention_3", "flex_attention") if joins_rows(k)}
    assert joining == {"flash_attention_3", "flex_attention"}


def test_over_whole_rows_a_sample_does_not_move_with_its_neighbours() -> None:
    torch.manual_seed(0)
    attention = attention_over("sdpa")
    module = torch.nn.Module()
    module.is_causal, module.num_key_value_groups = True, 1
    # Three samples of 4, 5 and 3 tokens in one row.
    positions = torch.tensor([[*range(4), *range(5), *range(3)]])
    tensors = [torch.randn(1, 2, 12, 8) for _ in range(3)]

    def output() -> torch.Tensor:
        given: torch.Tensor = attention(
            module, *tensors, None, position_ids=positions, scaling=1.0, dropout=0.0
        )[0]
        return given[0]

    before = output()
    for tensor in tensors:
        tensor[:, :, 4:9] += 1
    after = output()
    assert torch.equal(before[:4], after[:4])
    assert torch.equal(before[9:], after[9:])
    assert not torch.equal(before[4:9], after[4:9])

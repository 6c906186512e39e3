"""Attention sample by sample gives what torch gives with a mask over whole rows."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations import sdpa_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from fsft.runtime.train.sample_attention import Span, attend_by_sample, spans
from fsft.runtime.train.whole_rows import mask_of

LENGTH = 12


@pytest.fixture
def attention() -> Iterator[Callable[..., Any]]:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    attend_by_sample()
    yield ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS.register("sdpa", before)


@st.composite
def rows_of_samples(draw: st.DrawFn) -> list[list[int]]:
    """Rows of LENGTH positions, as lengths of samples."""
    return [
        [end - start for start, end in zip([0, *cuts], [*cuts, LENGTH], strict=True)]
        for cuts in draw(
            st.lists(st.sets(st.integers(1, LENGTH - 1)).map(sorted), min_size=1, max_size=3)
        )
    ]


def positions_of(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor([[place for size in row for place in range(size)] for row in rows])


def tensors_of(num_rows: int, key_value_heads: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(num_rows, heads, LENGTH, 8, generator=generator, requires_grad=True)
        for heads in (4, key_value_heads, key_value_heads)
    ]


def module_of(key_value_heads: int) -> torch.nn.Module:
    module = torch.nn.Module()
    module.is_causal, module.num_key_value_groups = True, 4 // key_value_heads
    return module


def with_gradients(output: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    return [output, *torch.autograd.grad((output * weights).sum(), tensors)]


@given(rows_of_samples(), st.sampled_from([1, 2, 4]), st.sampled_from([None, 2, 5]))
def test_it_is_attention_with_a_mask_in_value_and_gradient(
    rows: list[list[int]], key_value_heads: int, sliding_window: int | None
) -> None:
    mask = mask_of(positions_of(rows), sliding_window)
    tensors = tensors_of(len(rows), key_value_heads)
    expected = scaled_dot_product_attention(
        *tensors, attn_mask=mask, is_causal=mask is None, scale=0.3, enable_gqa=True
    ).transpose(1, 2)
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    attend_by_sample()
    try:
        output, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module_of(key_value_heads), *tensors, mask, scaling=0.3
        )
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", before)
    for found, wanted in zip(
        with_gradients(output, tensors), with_gradients(expected, tensors), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@given(rows_of_samples())
def test_a_row_is_cut_into_its_samples(rows: list[list[int]]) -> None:
    mask = torch.stack([torch.block_diag(*(torch.ones(n, n).tril() for n in row)) for row in rows])
    assert spans(mask.bool()) == [[Span(size, None) for size in row] for row in rows]


def test_a_window_that_goes_on_over_a_row_is_not_cut_and_keeps_its_mask() -> None:
    mask = mask_of(torch.arange(LENGTH)[None], 3)
    assert mask is not None
    (((length, own),),) = spans(mask[:, 0]) or []
    assert length == LENGTH
    assert own is not None
    assert torch.equal(own, mask)


@pytest.mark.parametrize("place", [(2, 5), (7, 1)])
def test_what_sees_its_future_or_past_a_gap_is_computed_whole(
    attention: Callable[..., Any], place: tuple[int, int]
) -> None:
    mask = torch.block_diag(torch.ones(6, 6).tril(), torch.ones(6, 6).tril()).bool()
    mask[place] = True
    assert spans(mask[None]) is None
    tensors = tensors_of(1, 4)
    expected = scaled_dot_product_attention(*tensors, attn_mask=mask, scale=0.3).transpose(1, 2)
    output, _ = attention(module_of(4), *tensors, mask[None, None], scaling=0.3)
    torch.testing.assert_close(output, expected)


def test_only_what_samples_see_of_themselves_is_computed(attention: Callable[..., Any]) -> None:
    computed = []

    def torchs(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        computed.append((query.shape[2], kwargs["attn_mask"], kwargs["is_causal"]))
        return scaled_dot_product_attention(query, *args, **kwargs)

    mask = mask_of(positions_of([[5, 7], [3, 4, 5]]), None)
    with patch.object(sdpa_attention.torch.nn.functional, "scaled_dot_product_attention", torchs):
        attention(module_of(4), *tensors_of(2, 4), mask, scaling=1.0)
    assert computed == [(size, None, True) for size in (5, 7, 3, 4, 5)]

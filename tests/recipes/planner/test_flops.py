"""The arithmetic of training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from fsft.recipes.planner.flops import classical_flops, training_flops
from fsft.runtime.train.model import num_matmul_parameters

SIZES = st.integers(1, 10**9)


def flops(*, parameters: int, tokens: int, squares: int) -> float:
    return training_flops(
        num_layer_parameters=parameters,
        num_head_parameters=5,
        num_layers=2,
        attention_width=3,
        num_tokens=tokens,
        num_labels=tokens,
        sum_squared_lengths=squares,
    )


@given(SIZES, SIZES, SIZES)
def test_flops_add_up_over_batches(parameters: int, tokens: int, squares: int) -> None:
    both = flops(parameters=parameters, tokens=2 * tokens, squares=2 * squares)
    one = flops(parameters=parameters, tokens=tokens, squares=squares)
    assert both == pytest.approx(2 * one)


def test_one_long_sample_costs_more_attention_than_two_short_ones() -> None:
    long = flops(parameters=10, tokens=8, squares=64)
    short = flops(parameters=10, tokens=8, squares=32)
    assert long - short == 6 * 2 * 3 * 32


def test_the_classical_estimate_is_eight_per_parameter_and_token() -> None:
    assert classical_flops(num_parameters=7, num_tokens=3) == 168


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("num_kept", [16, 5])
def test_the_formula_counts_what_torch_counts(*, tied: bool, num_kept: int) -> None:
    """Torch counts attention in full where the mask is causal: its share is twice the formula's."""
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    ids = torch.randint(0, 96, (2, 16))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, logits_to_keep=torch.arange(num_kept)).logits.sum().backward()
    in_layers, in_head = num_matmul_parameters(model)
    assert counter.get_total_flops() == training_flops(
        num_layer_parameters=in_layers,
        num_head_parameters=in_head,
        num_layers=3,
        attention_width=32,
        num_tokens=32,
        num_labels=2 * num_kept,
        sum_squared_lengths=2 * 2 * 16**2,
    )

"""The planner's activations against those of the real model, traced without its memory."""

import pytest

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout
from fsft.recipes.planner.memory import kept_after_forward
from fsft.recipes.planner.style import fsft_style
from fsft.runtime.trace.trace import trace_step
from tests.runtime.trace.architectures import ARCHITECTURES, config_of

MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_forward_keeps_is_known_to_two_percent(architecture: str) -> None:
    agree(architecture, "none", 512)


@pytest.mark.parametrize("checkpointing", MODES)
def test_every_checkpointing_keeps_what_the_formula_says(checkpointing: Checkpointing) -> None:
    agree("llama", checkpointing, 2048)


@pytest.mark.slow
@pytest.mark.parametrize("length", [512, 2048])
@pytest.mark.parametrize("checkpointing", MODES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_forward_keeps_is_known_for_every_mode_and_length(
    architecture: str, checkpointing: Checkpointing, length: int
) -> None:
    agree(architecture, checkpointing, length)


@pytest.mark.parametrize("checkpointing", MODES)
def test_packed_rows_take_a_mask_where_the_kernel_knows_no_samples(
    checkpointing: Checkpointing,
) -> None:
    config = config_of("llama")
    traced = trace_step(
        config, micro_batch=2, sequence_length=1024, checkpointing=checkpointing, packed=True
    )
    question = Job(read_shape(config), 1024, style=fsft_style("bfloat16", "masked"))
    layout = Layout(zero=0, micro_batch=2, checkpointing=checkpointing)
    assert kept_after_forward(question, layout) == pytest.approx(traced.activation_bytes, rel=0.02)


def test_float32_takes_about_twice_as_much() -> None:
    config = config_of("llama")
    traced = trace_step(
        config, micro_batch=2, sequence_length=512, checkpointing="none", dtype="float32"
    )
    question = Job(read_shape(config), 512, style=fsft_style("float32"))
    predicted = kept_after_forward(question, Layout(zero=0, micro_batch=2))
    assert predicted == pytest.approx(traced.activation_bytes, rel=0.02)


def agree(architecture: str, checkpointing: Checkpointing, length: int) -> None:
    config = config_of(architecture)
    traced = trace_step(config, micro_batch=2, sequence_length=length, checkpointing=checkpointing)
    shape = read_shape(config)
    layout = Layout(zero=0, micro_batch=2, checkpointing=checkpointing)
    assert traced.num_parameters == shape.num_parameters
    predicted = kept_after_forward(Job(shape, length), layout)
    assert predicted == pytest.approx(traced.activation_bytes, rel=0.02)

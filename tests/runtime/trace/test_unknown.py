"""Architectures that fsft has no reader for are counted on the model itself."""

from typing import Any

import pytest

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import kept_after_forward
from fsft.recipes.problems import RecipeError
from fsft.runtime.trace.trace import trace_step
from fsft.runtime.trace.unknown import counted_shape
from tests.runtime.trace.architectures import ARCHITECTURES, config_of

UNKNOWN = ("olmo2", "stablelm", "granite", "starcoder2", "olmoe")


def config(architecture: str) -> dict[str, Any]:
    settings = ARCHITECTURES["llama"] | {"model_type": architecture}
    return settings | {"num_experts": 8, "num_experts_per_tok": 2}


@pytest.mark.parametrize("architecture", UNKNOWN)
def test_parameters_are_exact_and_activations_near(architecture: str) -> None:
    shape = counted_shape(config(architecture))
    traced = trace_step(
        config(architecture), micro_batch=1, sequence_length=512, checkpointing="none"
    )
    assert shape.num_parameters == traced.num_parameters
    kept = kept_after_forward(Job(shape, 512), Layout(zero=0))
    assert kept == pytest.approx(traced.activation_bytes, rel=0.2)


def test_a_known_architecture_is_counted_as_it_is_read() -> None:
    counted, known = counted_shape(config_of("llama")), read_shape(config_of("llama"))
    assert counted.num_parameters == known.num_parameters
    assert counted.stack.num_layers == known.stack.num_layers
    assert counted.num_active_parameters == known.num_active_parameters


def test_layers_may_differ_in_their_heads() -> None:
    differing = config("gemma4_text") | {
        "head_dim": 16,
        "global_head_dim": 32,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_hidden_layers": 2,
    }
    counted = counted_shape(differing)
    widths = {layer.attention.head_width for layer, _ in counted.stack.layers}
    assert widths == {16, 32}


@pytest.mark.parametrize("architecture", ["nothing-at-all", "vit", ""])
def test_what_is_no_language_model_is_refused_with_its_name(architecture: str) -> None:
    with pytest.raises(RecipeError, match=architecture or "model_type"):
        counted_shape({"model_type": architecture})

"""What holds for every shape."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.recipes.models.catalogue import catalogue
from fsft.recipes.models.from_config import load_shape, read_shape
from fsft.recipes.models.parameters import parameters_by_module
from fsft.recipes.models.shape import ModelShape
from tests.recipes.models.small_configs import (
    ARCHITECTURES,
    DEPTH_KEYS,
    WIDTH_KEYS,
    small_configs,
)

_OF_ANY = st.sampled_from(ARCHITECTURES).flatmap(small_configs)
_SEEING = ("gemma3", "internvl", "qwen2_vl")
"""Their language model's keys are inside `text_config`."""


def _grown(config: dict[str, Any], key: str) -> dict[str, Any]:
    if config["model_type"] in _SEEING:
        return {**config, "text_config": _grown({"model_type": "", **config["text_config"]}, key)}
    return {**config, key: config[key] + 1}


@given(config=_OF_ANY)
def test_parts_add_up_to_all_parameters(config: dict[str, Any]) -> None:
    shape = read_shape(config)
    assert sum(parameters_by_module(shape).values()) == shape.num_parameters


@given(config=_OF_ANY)
def test_a_token_meets_no_more_than_all_parameters(config: dict[str, Any]) -> None:
    shape = read_shape(config)
    assert 0 < shape.num_active_parameters <= shape.num_parameters
    if not shape.is_mixture:
        assert shape.num_active_parameters == shape.num_parameters


@given(config=_OF_ANY)
def test_one_more_layer_adds_one_layer(config: dict[str, Any]) -> None:
    key = DEPTH_KEYS.get(config["model_type"], "num_hidden_layers")
    shape, deeper = read_shape(config), read_shape(_grown(config, key))
    last = deeper.stack.per_layer()[-1]
    assert deeper.stack.num_layers == shape.stack.num_layers + 1
    assert deeper.num_parameters == shape.num_parameters + last.num_parameters


@given(
    config=st.sampled_from(sorted(set(ARCHITECTURES) - {"gpt2", "bloom", "mpt"})).flatmap(
        small_configs
    )
)
def test_wider_blocks_have_more_parameters(config: dict[str, Any]) -> None:
    architecture = config["model_type"]
    key = WIDTH_KEYS.get(architecture, "intermediate_size")
    if architecture == "falcon":
        key, config = "ffn_hidden_size", {**config, "ffn_hidden_size": 8}
    shape = read_shape(config)
    has_experts = shape.is_mixture or "moe_intermediate_size" not in config
    wider = read_shape(_grown(config, key))
    assert (wider.num_parameters > shape.num_parameters) == has_experts


@given(config=st.sampled_from(("deepseek_v2", "mixtral", "qwen3_moe")).flatmap(small_configs))
def test_more_experts_for_a_token_change_what_it_meets_and_nothing_else(
    config: dict[str, Any],
) -> None:
    num_experts = config.get("num_local_experts", config.get("num_experts", 2))
    shapes = [
        read_shape({**config, "num_experts_per_tok": top_k}) for top_k in range(1, num_experts + 1)
    ]
    assert len({shape.num_parameters for shape in shapes}) == 1
    active = [shape.num_active_parameters for shape in shapes]
    assert active == sorted(active)
    assert active[-1] == shapes[-1].num_parameters


@pytest.mark.parametrize(
    ("name", "active"),
    [("Mixtral-8x7B", 12.9e9), ("Qwen3-30B-A3B", 3.3e9), ("DeepSeek-V3", 37e9)],
)
def test_active_parameters_are_those_that_models_are_named_after(name: str, active: float) -> None:
    assert load_shape(name).num_active_parameters == pytest.approx(active, rel=0.03)


def test_widths_of_attention_fit_its_matrices() -> None:
    for name in catalogue():
        for attention in {layer.attention for layer in _layers(load_shape(name))}:
            assert attention.linears[-1].inputs == attention.output_size, name
            assert attention.linears[-1].outputs == attention.hidden, name
            if attention.latent is None:
                *inner, _ = attention.linears
                whole = attention.query_size + attention.key_size + attention.value_size
                assert sum(linear.outputs for linear in inner) == whole, name
                assert {linear.inputs for linear in inner} == {attention.hidden}, name


@settings(max_examples=20)
@given(config=_OF_ANY)
def test_shapes_are_equal_where_configs_are(config: dict[str, Any]) -> None:
    assert hash(read_shape(config)) == hash(read_shape({**config, "comment": 1}))


def _layers(shape: ModelShape) -> list[Any]:
    stacks = [shape.stack, *([shape.encoder] if shape.encoder else [])]
    stacks += [shape.vision.stack] if shape.vision else []
    return [layer for stack in stacks for layer, _ in stack.layers]

"""Shapes have the parameters that transformers' own models have."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fsft.recipes.models.catalogue import catalogue, find_entry
from fsft.recipes.models.from_config import read_shape
from fsft.recipes.models.plans import PLANS
from fsft.recipes.models.shape import ModelShape
from tests.recipes.models.reference import REMOTE, build, is_tied, layers_of, num_parameters
from tests.recipes.models.small_configs import ARCHITECTURES, small_configs

_ENTRIES = [entry for name in catalogue() if (entry := find_entry(name))]
_NATIVE = [entry for entry in _ENTRIES if entry.config["model_type"] not in REMOTE]
_INCONSISTENT_DEFAULTS = {"qwen2_vl", "qwen2_5_vl"}
"""Their default towers do not fit their default language models."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=6, phases=(Phase.generate,))
@given(data=st.data())
def test_small_models_have_the_parameters_of_the_shape(
    architecture: str, data: st.DataObject
) -> None:
    _compare(data.draw(small_configs(architecture)))


@pytest.mark.parametrize("entry", _NATIVE, ids=lambda entry: entry.name)
def test_every_published_model_has_the_parameters_of_its_shape(entry: Any) -> None:
    _compare(entry.config)


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - _INCONSISTENT_DEFAULTS))
def test_an_absent_key_takes_the_default_of_transformers(architecture: str) -> None:
    # The class's default, None, cannot be run.
    given_keys = {"num_experts_per_tok": 6} if architecture == "deepseek_v2" else {}
    config = {"model_type": architecture, **given_keys}
    shape = _compare(config)
    written_out = _real_config(config).to_dict()
    assert read_shape(json.loads(json.dumps(written_out, default=str))) == shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=2, phases=(Phase.generate,))
@given(data=st.data())
def test_a_config_that_transformers_saved_is_read_like_the_original(
    architecture: str, data: st.DataObject
) -> None:
    config = data.draw(small_configs(architecture))
    saved = json.loads(_real_config(config).to_json_string(use_diff=False))
    assert read_shape(saved) == read_shape(config)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=1, phases=(Phase.generate,), derandomize=True)
@given(data=st.data())
def test_splits_are_those_that_the_models_plans_offer(
    architecture: str, data: st.DataObject
) -> None:
    config = data.draw(small_configs(architecture))
    model: Any = build(config)
    plans = {"tensor": model.tp_plan, "pipeline": model.pp_plan, "expert": model.ep_plan}
    if own := PLANS.get(architecture):
        # Where transformers comes to have a plan, ours is to go.
        assert not any(plans.values())
        plans = {"tensor": own.tensor, "pipeline": own.pipeline}
    assert read_shape(config).splits == {name for name, plan in plans.items() if plan}
    if not read_shape(config).encoder:
        assert read_shape(config).own_attention == (not model._supports_attention_backend)


@pytest.mark.parametrize("architecture", PLANS)
def test_own_plans_name_modules_of_the_model(architecture: str) -> None:
    narrow = {"word_embed_proj_dim": 8} if architecture == "opt" else {}
    model: Any = build({"model_type": architecture, **narrow})
    names = {re.sub(r"\.\d+\.", ".*.", name) for name, _ in model.named_modules()}
    assert set(PLANS[architecture].tensor) <= names
    below = {name for name, _ in model.base_model.named_modules()}
    assert set(PLANS[architecture].pipeline) <= below


def test_sums_in_slices_of_whole_weights_are_not_divided() -> None:
    in_slices = {"model_type": "bloom", "slow_but_exact": True, "pretraining_tp": 4}
    assert read_shape(in_slices).splits == frozenset()
    assert read_shape({**in_slices, "pretraining_tp": 1}).splits == {"tensor", "pipeline"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=1, phases=(Phase.generate,), derandomize=True)
@given(data=st.data())
def test_what_tensor_parallelism_leaves_whole_is_what_the_plan_says(
    architecture: str, data: st.DataObject
) -> None:
    config = data.draw(small_configs(architecture))
    own = PLANS.get(architecture)
    plan: Mapping[str, str] = own.tensor if own else build(config).tp_plan or {}
    attention = {style for name, style in plan.items() if "att" in name}
    rest = {style for name, style in plan.items() if "mlp" in name}
    whole = set()
    if plan and not attention & {"colwise", "colwise_qkv"}:
        whole.add("attention")
    if plan and not attention:
        whole.add("attention weights")
    if "colwise_gather_output" in rest:
        whole.add("feed-forward")
    assert {frozenset(whole)} == {layer.whole for layer, _ in read_shape(config).stack.layers}


def test_windows_are_those_of_transformers() -> None:
    for name in ("google/gemma-2-2b", "google/gemma-3-1b-pt", "mistralai/Mistral-7B-v0.1"):
        entry = find_entry(name)
        assert entry
        real = _real_config(entry.config)
        types = getattr(real, "layer_types", None) or ["sliding_attention"] * real.num_hidden_layers
        windows = [layer.attention.window for layer in read_shape(entry.config).stack.per_layer()]
        assert windows == [
            real.sliding_window if kind == "sliding_attention" else None for kind in types
        ]


@pytest.mark.parametrize("architecture", ["gemma3", "internvl", "qwen2_5_vl", "qwen2_vl"])
@settings(max_examples=4, phases=(Phase.generate,))
@given(data=st.data())
def test_towers_and_projectors_have_the_parameters_of_the_shape(
    architecture: str, data: st.DataObject
) -> None:
    config = data.draw(small_configs(architecture))
    vision = read_shape(config).vision
    assert vision
    inner: Any = build(config).model
    if architecture.startswith("qwen"):
        assert vision.num_parameters == num_parameters(inner.visual)
        assert vision.num_projector_parameters == num_parameters(inner.visual.merger)
    else:
        projector = num_parameters(inner.multi_modal_projector)
        assert vision.num_projector_parameters == projector
        assert vision.num_parameters == projector + num_parameters(inner.vision_tower)


@settings(max_examples=4, phases=(Phase.generate,))
@given(config=small_configs("t5"))
def test_encoders_have_the_parameters_of_the_shape(config: dict[str, Any]) -> None:
    encoder, model = read_shape(config).encoder, build(config)
    assert encoder
    blocks: Any = model.get_submodule("encoder.block")
    sizes = [num_parameters(block) for block in blocks]
    assert [layer.num_parameters for layer in encoder.per_layer()] == sizes


def _compare(config: dict[str, Any]) -> ModelShape:
    shape = read_shape(config)
    model: Any = build(config)
    layers = [num_parameters(layer) for layer in layers_of(model)]
    assert [layer.num_parameters for layer in shape.stack.per_layer()] == layers
    total = num_parameters(model)
    if config["model_type"] == "t5" and not shape.tied:
        # transformers ties a T5 that it makes anew, and unties it when the weights that it loads
        # have both matrices, as those of FLAN-T5 do.
        total += shape.num_head_parameters
    else:
        assert shape.tied == is_tied(model)
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings()
    biases = shape.vocab_size if shape.head_bias else 0
    assert num_parameters(head) == num_parameters(embedding) + biases
    width = shape.embedding_width or shape.hidden
    assert num_parameters(embedding) == shape.vocab_size * width
    assert shape.num_parameters == total
    return shape


def _real_config(config: Any) -> Any:
    from transformers import AutoConfig

    fields = dict(config)
    return AutoConfig.for_model(fields.pop("model_type"), **fields)

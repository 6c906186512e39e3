"""Activation checkpointing changes what forward keeps, and nothing else."""

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, LlamaConfig

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import kept_after_forward, plan_memory
from fsft.recipes.schema import Parallel
from fsft.runtime.trace.trace import trace_step
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from tests.runtime.trace.architectures import config_of

LAYERS = 6
WAYS: dict[str, dict[str, Any]] = {
    "none": {"mode": "none"},
    "selective": {"mode": "selective"},
    "full": {"mode": "full"},
    "every second": {"mode": "full", "every": 2},
    "every fourth": {"mode": "full", "every": 4},
    "selective, every second": {"mode": "selective", "every": 2},
    "offloaded": {"mode": "full", "offload": True},
    "selective, offloaded": {"mode": "selective", "offload": True},
}


def step(way: str) -> tuple[torch.Tensor, list[torch.Tensor], int]:
    """Loss, gradients, and the bytes that autograd keeps outside of weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
    )
    model = AutoModelForCausalLM.from_config(config).train()
    apply_checkpointing(model, **WAYS[way])
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.arange(40).reshape(2, 20)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters()], sum(kept.values())


def test_losses_and_gradients_are_the_same_in_every_way() -> None:
    loss, gradients, _ = step("none")
    for way in WAYS:
        other, found, _ = step(way)
        assert other == loss, way
        for one, two in zip(gradients, found, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8, msg=way)


def test_the_more_layers_are_checkpointed_the_less_is_kept() -> None:
    none, fourth, second, full, offloaded = (
        step(way)[2] for way in ("none", "every fourth", "every second", "full", "offloaded")
    )
    assert none > fourth > second > full > offloaded
    # Two of six, three of six, and six of six layers keep their input alone.
    assert (none - fourth) / (none - full) == pytest.approx(2 / 6, rel=0.02)
    assert (none - second) / (none - full) == pytest.approx(3 / 6, rel=0.02)
    # What is offloaded is the input of each layer: 2 rows of 20 tokens of 32 elements.
    assert full - offloaded == LAYERS * 2 * 20 * 32 * 4


@pytest.mark.parametrize("every", [2, 3])
def test_the_planner_knows_what_every_nth_layer_keeps(every: int) -> None:
    config = config_of("llama")
    traced = trace_step(
        config, micro_batch=2, sequence_length=512, checkpointing="full", every=every
    )
    layout = Layout(zero=0, micro_batch=2, checkpointing="full", checkpointed_every=every)
    kept = kept_after_forward(Job(read_shape(config), 512), layout)
    assert kept == pytest.approx(traced.activation_bytes, rel=0.02)


def test_offloaded_inputs_are_counted_on_the_host_and_not_on_the_device() -> None:
    shape = read_shape(config_of("llama"))
    question = Job(shape, 4096)
    layout = Layout(zero=0, micro_batch=2, checkpointing="full")
    here = plan_memory(question, layout)
    there = plan_memory(question, layout._replace(offload_activations="cpu"))
    inputs = shape.stack.num_layers * 2 * 4096 * shape.hidden * 2
    assert there.host - here.host == inputs
    loss, other = here.moments[0], there.moments[0]
    assert loss.activations - other.activations == inputs


@pytest.mark.parametrize(
    "given", [{"activation_checkpointing_every": 2}, {"activation_offload": True}]
)
def test_a_recipe_without_checkpointing_cannot_ask_for_a_kind_of_it(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs activation_checkpointing"):
        Parallel(**given)
    Parallel(activation_checkpointing="full", **given)

"""A step that is traced on tensors without data."""

from unittest.mock import patch

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import AutoConfig, AutoModelForCausalLM

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout
from fsft.recipes.planner.memory import plan_memory
from fsft.runtime.trace.kernels import gpu_kernels
from fsft.runtime.trace.trace import StepTrace, trace_step
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.loss import loss_at
from tests.runtime.trace.architectures import ARCHITECTURES, config_of

LENGTH = 256


def trace(checkpointing: str) -> StepTrace:
    return trace_step(
        config_of("llama"), micro_batch=1, sequence_length=LENGTH, checkpointing=checkpointing
    )


def test_more_checkpointing_keeps_less_and_computes_more() -> None:
    none, selective, full = trace("none"), trace("selective"), trace("full")
    assert none.activation_bytes > selective.activation_bytes > full.activation_bytes
    assert none.flops < selective.flops < full.flops


def test_the_flops_are_those_of_matrix_products_and_attention() -> None:
    shape = read_shape(config_of("llama"))
    layer, num_layers = shape.stack.layers[0]
    weights = num_layers * layer.num_matmul_parameters + shape.hidden * shape.vocab_size
    # Fused attention: two products forward, five backward, of all pairs of tokens.
    attention = num_layers * layer.attention.query_size * 14 * LENGTH * LENGTH
    assert trace("none").flops == 6 * weights * LENGTH + attention


def test_layers_of_a_model_of_seventy_billion_parameters_are_traced_without_its_memory() -> None:
    config = {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 8192,
        "intermediate_size": 28_672,
        "num_hidden_layers": 16,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    }
    traced = trace_step(config, micro_batch=1, sequence_length=4096, checkpointing="full")
    assert traced.num_parameters == read_shape(config).num_parameters > 14e9
    assert traced.parameter_bytes == 2 * traced.num_parameters


def test_the_peak_is_that_of_torchs_own_tracker() -> None:
    config = config_of("llama")
    traced = trace_step(config, micro_batch=1, sequence_length=LENGTH, checkpointing="full")
    settings = ARCHITECTURES["llama"]
    with FakeTensorMode(), gpu_kernels():
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model("llama", **settings), dtype=torch.bfloat16
        )
        apply_checkpointing(model.train(), "full")
        ids, places, targets = (torch.zeros((1, LENGTH), dtype=torch.long) for _ in range(3))
        positions = torch.zeros(LENGTH, dtype=torch.long)
        memory = MemTracker()
        memory.track_external(model, ids, places, targets, positions)
        with (
            memory,
            patch("transformers.masking_utils.find_packed_sequence_indices", lambda _: None),
        ):
            loss_at(positions, model, ids, places, targets, LENGTH).backward()
    (kinds,) = memory.get_tracker_snapshot("peak").values()
    batch = 4 * LENGTH * 8
    assert kinds["Total"] - traced.parameter_bytes - batch == pytest.approx(
        traced.peak_bytes, rel=0.01
    )


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_the_peak_is_known_to_a_tenth(architecture: str, checkpointing: Checkpointing) -> None:
    config = config_of(architecture)
    traced = trace_step(config, micro_batch=4, sequence_length=2048, checkpointing=checkpointing)
    layout = Layout(zero=0, micro_batch=4, checkpointing=checkpointing)
    memory = plan_memory(Job(read_shape(config), 2048), layout)
    tensors = max(
        moment.activations + moment.logits for moment in memory.moments if moment.phase == "train"
    )
    assert tensors == pytest.approx(traced.peak_bytes, rel=0.1)

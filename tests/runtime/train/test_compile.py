"""Compiled layers compute the same, and are compiled for few shapes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM, LlamaConfig

from fsft.recipes.files import read_recipe
from fsft.recipes.problems import RecipeError, Refused
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.compile import compile_layers
from tests.runtime.train.training import assert_same_training, trained
from tests.support import steps_in, write_tiny_recipe

ROWS: list[list[int]] = [[16], [16, 8], [32], [20, 28], [17], [33, 57], [5, 86], [7, 9, 40]]
"""Lengths of the samples in each row."""


def model_of(checkpointing: str) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    model = AutoModelForCausalLM.from_config(config).train()
    apply_checkpointing(model, checkpointing)
    return model


def step(model: Any, samples: list[int]) -> tuple[float, list[torch.Tensor]]:
    ids = torch.randint(0, 256, (2, sum(samples)), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(length) for length in samples]).expand(2, -1)
    model.zero_grad()
    loss = model(input_ids=ids, position_ids=positions, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["none", "full"])
def test_rows_of_any_length_and_packing_need_three_programs_and_give_the_same(
    checkpointing: str,
) -> None:
    torch._dynamo.reset()
    counters.clear()
    plain, compiled = model_of(checkpointing), model_of(checkpointing)
    compile_layers(compiled)
    for samples in ROWS:
        loss, gradients = step(plain, samples)
        other, found = step(compiled, samples)
        assert other == pytest.approx(loss, rel=1e-5)
        for one, two in zip(gradients, found, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert counters["stats"]["unique_graphs"] <= 3
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.parametrize(("zero", "packing"), [(0, "false"), (2, "true")])
def test_a_compiled_run_is_the_run(tmp_path: Path, zero: int, packing: str) -> None:
    same = (f"parallel.zero={zero}", f"data.packing={packing}", "parallel.micro_batch=4")
    plain = trained(tmp_path / "plain", *same, num_processes=2)
    compiled = trained(tmp_path / "compiled", *same, "model.compile=true", num_processes=2)
    assert_same_training(steps_in(plain.path), steps_in(compiled.path), tolerance=1e-4)


@pytest.mark.parametrize(
    "override",
    [
        "parallel.zero=3",
        'parallel.zero="auto"',
        "parallel.tensor=2",
        "parallel.sequence=2",
        'parallel.activation_checkpointing="selective"',
    ],
)
def test_what_cannot_be_compiled_is_refused_when_the_recipe_is_read(
    tmp_path: Path, override: str
) -> None:
    recipe = write_tiny_recipe(tmp_path)
    with pytest.raises(RecipeError, match="compile does not go with"):
        read_recipe(recipe, ["model.compile=true", override])


def test_a_model_without_known_layers_is_refused() -> None:
    with pytest.raises(Refused, match="no layers that are known to be alike"):
        compile_layers(nn.Sequential(nn.Linear(2, 2)))

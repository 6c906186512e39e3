"""Stages are as even as the time that layers were measured to take."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from fsft.recipes.events import StagesMeasured
from fsft.recipes.files import parse_recipe
from fsft.recipes.schema import Recipe
from fsft.runtime.train import stages as train_stages
from fsft.runtime.train.batches import Batch, collate
from fsft.runtime.train.marks import CheckpointMark, latest_checkpoint
from fsft.runtime.train.measured import Measured, measured
from fsft.runtime.train.stages import plan_stages
from tests.runtime.train.layouts import ALONE, Layout
from tests.runtime.train.test_batches import row
from tests.runtime.train.test_halves import model_of
from tests.runtime.train.training import (
    assert_same_training,
    prepared,
    train_with,
    trained,
    weights_of,
)
from tests.support import TINY_RECIPE, events_of, steps_in

SECONDS = 0.1
MEASURED = 'parallel.pipeline_split="measured"'


class Slow(torch.nn.Module):
    """A feed-forward block that takes its time."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        time.sleep(SECONDS)
        given: torch.Tensor = self.block(hidden)
        return given


def model_with_a_slow_layer() -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.model.layers[2].mlp = Slow(model.model.layers[2].mlp)
    return model


def recipe_of(*overrides: str) -> Recipe:
    return parse_recipe(TINY_RECIPE, overrides=["parallel.pipeline=2", MEASURED, *overrides])


def batch() -> Batch:
    return collate([row(8), row(6)], 0, one_row=False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads wait for each other where processors are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("units", "slow"), [("layers", {2}), ("halves", {5})], ids=["layers", "halves"]
)
def test_what_takes_long_is_seen_and_the_model_stays_as_it_is(
    units: str, slow: set[int], dtype: str
) -> None:
    model = model_with_a_slow_layer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = recipe_of(f'parallel.pipeline_units="{units}"', f'model.dtype="{dtype}"')
    found = measured(recipe, model, batch())
    assert len(found.units) == {"layers": 4, "halves": 8}[units]
    assert {index for index, each in enumerate(found.units) if each >= SECONDS} == slow
    assert found.embedding > 0
    assert found.head > 0
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("model_type", ["gpt2", "bloom", "opt"])
def test_layers_of_plans_of_their_own_are_measured(model_type: str) -> None:
    found = measured(recipe_of(), model_of(model_type), batch())
    assert len(found.units) == 3
    assert all(seconds > 0 for seconds in (*found.units, found.embedding, found.head))


def test_a_layer_that_computes_its_forward_again_takes_longer() -> None:
    model = model_with_a_slow_layer()
    again = recipe_of('parallel.activation_checkpointing="full"')
    assert measured(again, model, batch()).units[2] >= 2 * SECONDS


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of this process."""
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def mark_of(stage_layers: list[int], *, is_measured: bool = True) -> CheckpointMark:
    return CheckpointMark(
        step=2,
        num_processes=2,
        zero=1,
        global_batch=8,
        model="",
        pipeline=len(stage_layers),
        stage_layers=stage_layers,
        is_measured=is_measured,
    )


@pytest.mark.parametrize(
    ("saved", "expected", "is_new"),
    [
        (None, (3, 1), True),
        (mark_of([2, 2]), (2, 2), False),
        # Of another split, of other units, of other stages.
        (mark_of([2, 2], is_measured=False), (3, 1), True),
        (mark_of([4, 4]), (3, 1), True),
        (mark_of([1, 1, 2]), (3, 1), True),
    ],
)
def test_stages_are_measured_once_and_kept_by_a_run_that_goes_on(
    alone: None,
    monkeypatch: pytest.MonkeyPatch,
    saved: CheckpointMark | None,
    expected: tuple[int, ...],
    is_new: bool,
) -> None:
    times = Measured((1.0, 1.0, 1.0, 1.0), embedding=0.5, head=3.0)
    monkeypatch.setattr(train_stages, "measured", lambda *_: times)
    found = plan_stages(recipe_of(), model_with_a_slow_layer(), saved, batch)
    assert found.sizes == expected
    assert found.is_measured
    assert found.times == (times if is_new else None)


@pytest.mark.slow
def test_measured_stages_train_as_one_process_and_a_run_keeps_them(tmp_path: Path) -> None:
    same = ("model.config.num_hidden_layers=3", "optimizer.clip=0.5")
    whole = trained(tmp_path / "whole", *ALONE.overrides, *same, num_processes=1)
    layout = (*Layout(1, pipeline=2).overrides, MEASURED, 'parallel.pipeline_units="halves"')
    run = trained(tmp_path / "run", *layout, *same, num_processes=2)
    assert_same_training(steps_in(whole.path), steps_in(run.path), tolerance=2e-5)
    (told,) = (e for e in events_of(run.path) if isinstance(e, StagesMeasured))
    assert sum(told.stages) == len(told.seconds) == 6
    assert all(seconds > 0 for seconds in [*told.seconds, told.head_seconds])
    first = latest_checkpoint(run.checkpoints)
    assert first
    assert first.stage_layers == told.stages

    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")
    prepared(tmp_path / "run", *layout, *same, prepare_data=False)
    train_with(run, 2)
    assert sum(isinstance(event, StagesMeasured) for event in events_of(run.path)) == 1
    again = latest_checkpoint(run.checkpoints)
    assert again
    assert again.stage_layers == told.stages
    expected = weights_of(whole)
    for name, weight in weights_of(run).items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)

"""What only a pipeline has: layers spread over stages in any way, by any model's own plan."""

from pathlib import Path

import pytest
import torch

from fsft.runtime.train.marks import latest_checkpoint
from tests.runtime.train.deviations import BOUNDS, deviations
from tests.runtime.train.layouts import ALONE, BLOOM, GPT2, OPT, Layout
from tests.runtime.train.layouts import MODELS as MATRIX_MODELS
from tests.runtime.train.training import (
    assert_same_training,
    prepared,
    train_with,
    trained,
    weights_of,
)
from tests.support import steps_in

SLOW = pytest.mark.slow
STAGES = Layout(1, pipeline=2)
CLIPPED = "optimizer.clip=0.5"
MODELS: dict[str, tuple[str, ...]] = {
    "untied": ("model.config.tie_word_embeddings=false",),
    "windows of its own for each layer": (
        'model.config.model_type="gemma3_text"',
        'model.attention="eager"',
        "model.config.num_hidden_layers=3",
        "model.config.head_dim=8",
        "model.config.sliding_window=16",
        'model.config.layer_types=["sliding_attention", "full_attention", "sliding_attention"]',
    ),
    "a cap on logits": (
        'model.config.model_type="gemma2"',
        'model.attention="eager"',
        "model.config.head_dim=8",
    ),
    "dropout's place in the plan": ('model.config.model_type="gpt_neox"',),
    "biases": ('model.config.model_type="phi"',),
    "a table of positions": ('model.config.model_type="gpt2"', *GPT2),
    "a decoder below its base model": ('model.config.model_type="opt"', *OPT),
    "projections beside a narrow embedding": (
        'model.config.model_type="opt"',
        *OPT,
        "model.config.word_embed_proj_dim=16",
        "model.config.do_layer_norm_before=false",
    ),
    "layers that give tuples": ('model.config.model_type="bloom"', *BLOOM),
}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_any_model_with_a_plan_trains_in_stages_as_in_one_process(
    tmp_path: Path, model: tuple[str, ...]
) -> None:
    whole = trained(tmp_path / "whole", *ALONE.overrides, CLIPPED, *model, num_processes=1)
    spread = trained(tmp_path / "spread", *STAGES.overrides, CLIPPED, *model, num_processes=2)
    assert deviations(whole, spread).within(BOUNDS["float32"])


@pytest.mark.slow
def test_stages_may_have_any_number_of_layers(tmp_path: Path) -> None:
    deep = ("model.config.num_hidden_layers=5", CLIPPED)
    stages = Layout(1, pipeline=4)
    whole = trained(tmp_path / "whole", *ALONE.overrides, *deep, num_processes=1)
    spread = trained(
        tmp_path / "spread",
        *stages.overrides,
        *deep,
        "parallel.pipeline_split=[1, 2, 1, 1]",
        num_processes=4,
    )
    assert deviations(whole, spread).within(BOUNDS["float32"])
    mark = latest_checkpoint(spread.checkpoints)
    assert mark is not None
    assert mark.stage_layers == [1, 2, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        (*MODELS["a cap on logits"],),
        (*MODELS["dropout's place in the plan"], "model.config.use_parallel_residual=false"),
        (*MATRIX_MODELS["qwen2_moe"], "model.config.num_hidden_layers=3"),
    ],
    ids=["four norms a layer", "biases", "experts"],
)
@pytest.mark.parametrize("stages", [2, 4])
def test_a_stage_may_end_between_attention_and_feed_forward(
    tmp_path: Path, model: tuple[str, ...], stages: int
) -> None:
    same = ("model.config.num_hidden_layers=3", CLIPPED, *model)
    halves = {2: (3, 3), 4: (1, 2, 2, 1)}[stages]
    whole = trained(tmp_path / "whole", *ALONE.overrides, *same, num_processes=1)
    layout = Layout(1, pipeline=stages, halves=halves)
    spread = trained(tmp_path / "spread", *layout.overrides, *same, num_processes=stages)
    found = deviations(whole, spread)
    assert found.within(BOUNDS["float32"]), found
    mark = latest_checkpoint(spread.checkpoints)
    assert mark is not None
    assert mark.stage_layers == list(halves)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_stages_that_compute_activations_again_change_nothing(
    tmp_path: Path, checkpointing: str
) -> None:
    again = f'parallel.activation_checkpointing="{checkpointing}"'
    kept = trained(tmp_path / "kept", *STAGES.overrides, num_processes=2)
    computed = trained(tmp_path / "again", *STAGES.overrides, again, num_processes=2)
    assert_same_training(steps_in(kept.path), steps_in(computed.path), tolerance=1e-6)


HALVES = Layout(1, pipeline=2, halves=(3, 3))
ALONE_WITH_ZERO = Layout(1)
REPLICAS = Layout(3, data=2)
OTHER_STAGES = ("parallel.pipeline_split=[2, 1]",)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (STAGES, ALONE, ()),
        pytest.param(STAGES, STAGES, (), marks=SLOW),
        pytest.param(STAGES, STAGES, OTHER_STAGES, marks=SLOW),
        pytest.param(STAGES, ALONE_WITH_ZERO, (), marks=SLOW),
        pytest.param(ALONE, STAGES, (), marks=SLOW),
        pytest.param(STAGES, REPLICAS, (), marks=SLOW),
        pytest.param(REPLICAS, STAGES, (), marks=SLOW),
        pytest.param(STAGES, Layout(1, tensor=2), (), marks=SLOW),
        pytest.param(Layout(1, tensor=2), STAGES, (), marks=SLOW),
        pytest.param(Layout(1, pipeline=2, tensor=2), ALONE, (), marks=SLOW),
        pytest.param(ALONE, Layout(1, pipeline=2, tensor=2), (), marks=SLOW),
        pytest.param(STAGES, Layout(1, pipeline=2, data=2), (), marks=SLOW),
        pytest.param(Layout(1, pipeline=2, data=2), STAGES, OTHER_STAGES, marks=SLOW),
        pytest.param(HALVES, STAGES, (), marks=SLOW),
        pytest.param(STAGES, HALVES, (), marks=SLOW),
        pytest.param(HALVES, ALONE, (), marks=SLOW),
        pytest.param(ALONE, HALVES, (), marks=SLOW),
        pytest.param(HALVES, Layout(1, tensor=2), (), marks=SLOW),
        pytest.param(HALVES, Layout(1, pipeline=4, halves=(1, 2, 2, 1)), (), marks=SLOW),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("tied", ["true", pytest.param("false", marks=SLOW)])
def test_a_run_goes_on_with_other_stages_or_none_as_if_never_interrupted(
    tmp_path: Path, before: Layout, after: Layout, changed: tuple[str, ...], tied: str
) -> None:
    same = (
        "optimizer.weight_decay=0.1",
        "model.config.num_hidden_layers=3",
        f"model.config.tie_word_embeddings={tied}",
    )
    run = prepared(tmp_path / "run", *before.overrides, *same)
    train_with(run, before.num_processes)
    uninterrupted, expected = steps_in(run.path), weights_of(run)
    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")

    prepared(tmp_path / "run", *after.overrides, *same, *changed, prepare_data=False)
    train_with(run, after.num_processes)
    assert_same_training(uninterrupted, steps_in(run.path), tolerance=2e-5)
    mark = latest_checkpoint(run.checkpoints)
    assert mark is not None
    assert mark.pipeline == after.pipeline
    for name, weight in weights_of(run).items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)
    assert not (run.checkpoints / ".universal").exists()

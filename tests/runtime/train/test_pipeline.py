"""Layers spread over the stages of a pipeline train as they do in one process."""

from pathlib import Path

import pytest
import torch

from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import latest_checkpoint
from tests.runtime.train.test_layouts import (
    assert_same_training,
    prepared,
    train_with,
    trained,
    weights_of,
)
from tests.support import steps_in

SLOW = pytest.mark.slow
WHOLE = ("parallel.micro_batch=4", "parallel.gradient_accumulation=2", "parallel.zero=0")
CLIPPED = ("optimizer.clip=0.3",)
UNTIED = ("model.config.tie_word_embeddings=false",)
QWEN2 = ('model.config.model_type="qwen2"',)
MOE = (
    'model.config.model_type="qwen2_moe"',
    "model.config.num_experts=4",
    "model.config.num_experts_per_tok=2",
    "model.config.moe_intermediate_size=32",
    "model.config.shared_expert_intermediate_size=32",
)
FIVE_LAYERS = ("model.config.num_hidden_layers=5", "parallel.pipeline_split=[1, 2, 1, 1]")
WINDOWED = (
    'model.config.model_type="gemma3_text"',
    "model.config.num_hidden_layers=3",
    "model.config.head_dim=8",
    "model.config.sliding_window=16",
    'model.config.layer_types=["sliding_attention", "full_attention", "sliding_attention"]',
)


def staged(pipeline: int, replicas: int = 1, sequence: int = 1) -> tuple[str, ...]:
    """The rows of WHOLE in micro batches of two."""
    return (
        "parallel.micro_batch=2",
        f"parallel.gradient_accumulation={4 // replicas}",
        f"parallel.pipeline={pipeline}",
        f"parallel.sequence={sequence}",
    )


def assert_same_weights(one: RunDirectory, other: RunDirectory) -> None:
    expected, found = weights_of(one), weights_of(other)
    tied = {name for name in expected if name not in found}
    assert tied <= {"lm_head.weight"}
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=2e-4, msg=name)


@pytest.mark.parametrize("packing", ["true", pytest.param("false", marks=SLOW)])
@pytest.mark.parametrize(
    ("pipeline", "replicas", "sequence", "model"),
    [
        (2, 1, 1, CLIPPED),
        pytest.param(2, 1, 1, UNTIED, marks=SLOW),
        pytest.param(2, 1, 1, QWEN2, marks=SLOW),
        pytest.param(2, 1, 1, MOE, marks=SLOW),
        pytest.param(2, 1, 1, WINDOWED, marks=SLOW),
        pytest.param(2, 2, 1, CLIPPED, marks=SLOW),
        pytest.param(2, 2, 1, UNTIED, marks=SLOW),
        pytest.param(2, 1, 2, (), marks=SLOW),
        pytest.param(4, 1, 1, FIVE_LAYERS, marks=SLOW),
    ],
)
def test_layers_in_stages_give_the_same_losses_norms_and_weights(
    tmp_path: Path,
    pipeline: int,
    replicas: int,
    sequence: int,
    model: tuple[str, ...],
    packing: str,
) -> None:
    data = (f"data.packing={packing}", *model)
    alone = tuple(key for key in data if "pipeline_split" not in key)
    whole = trained(tmp_path / "whole", *WHOLE, *alone, num_processes=1)
    spread = trained(
        tmp_path / "spread",
        *staged(pipeline, replicas, sequence),
        *data,
        num_processes=pipeline * replicas * sequence,
    )
    assert_same_training(steps_in(whole.path), steps_in(spread.path), tolerance=2e-5)
    assert_same_weights(whole, spread)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_stages_that_compute_activations_again_change_nothing(
    tmp_path: Path, checkpointing: str
) -> None:
    kept = trained(tmp_path / "kept", *staged(2), num_processes=2)
    again = trained(
        tmp_path / "again",
        *staged(2),
        f'parallel.activation_checkpointing="{checkpointing}"',
        num_processes=2,
    )
    assert_same_training(steps_in(kept.path), steps_in(again.path), tolerance=1e-6)


@pytest.mark.slow
def test_stages_in_bf16_stay_near_float32(tmp_path: Path) -> None:
    exact = trained(tmp_path / "exact", *WHOLE, num_processes=1)
    rounded = trained(tmp_path / "rounded", *staged(2), 'model.dtype="bfloat16"', num_processes=2)
    for one, other in zip(steps_in(exact.path), steps_in(rounded.path), strict=True):
        assert other.loss == pytest.approx(one.loss, rel=2e-2)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=5e-2)


LAYOUTS = {
    "alone": (1, "parallel.micro_batch=2", "parallel.gradient_accumulation=4"),
    "stages": (2, *staged(2)),
    "other stages": (2, *staged(2), "parallel.pipeline_split=[2, 1]"),
    "stages of replicas": (4, *staged(2, replicas=2)),
}
DEEP = ("optimizer.weight_decay=0.1", "model.config.num_hidden_layers=3")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("stages", "alone"),
        pytest.param("stages", "stages", marks=SLOW),
        pytest.param("alone", "stages", marks=SLOW),
        pytest.param("stages", "other stages", marks=SLOW),
        pytest.param("stages of replicas", "stages", marks=SLOW),
        pytest.param("stages", "stages of replicas", marks=SLOW),
    ],
)
def test_a_run_goes_on_with_and_without_stages_as_if_never_interrupted(
    tmp_path: Path, before: str, after: str
) -> None:
    num_processes, *layout = LAYOUTS[before]
    run = prepared(tmp_path / "run", *DEEP, *map(str, layout))
    train_with(run, int(num_processes))
    uninterrupted, weights = steps_in(run.path), weights_of(run)
    (run.checkpoints / "step-00000003").rename(tmp_path / "lost")

    num_processes, *layout = LAYOUTS[after]
    prepared(tmp_path / "run", *DEEP, *map(str, layout), prepare_data=False)
    train_with(run, int(num_processes))
    assert_same_training(uninterrupted, steps_in(run.path), tolerance=2e-5)
    mark = latest_checkpoint(run.checkpoints)
    assert mark is not None
    assert mark.pipeline == (1 if after == "alone" else 2)
    for name, weight in weights_of(run).items():
        torch.testing.assert_close(weight, weights[name], atol=2e-5, rtol=2e-4, msg=name)

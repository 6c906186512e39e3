"""Weights that are divided among processes train as whole ones do, and go on in other layouts."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from fsft.recipes.planner.head import chunk_tokens
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.questions import shape_of
from fsft.recipes.planner.stages import stage_parameters
from fsft.recipes.problems import Refused
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train import tensor_layers
from fsft.runtime.train.marks import CheckpointMark, latest_checkpoint, needs_conversion
from fsft.runtime.train.mesh import Axis
from fsft.runtime.train.slices import Joined, own_slice
from fsft.runtime.train.tensor import divide
from tests.runtime.train.deviations import BOUNDS, deviations
from tests.runtime.train.layouts import ALONE, BLOOM, GPT2, MODELS, OPT, Layout
from tests.runtime.train.training import assert_same_training, prepared, train_with, trained
from tests.support import (
    TINY_RECIPE,
    dialogue,
    events_of,
    steps_in,
    write_jsonl,
    write_tiny_recipe,
)

SLOW = pytest.mark.slow
CLIPPED = "optimizer.clip=0.1"
TINY = ("model.config.head_dim=8",)
LATENT = (
    "model.config.num_key_value_heads=4",
    "model.config.q_lora_rank=16",
    "model.config.kv_lora_rank=16",
    "model.config.qk_rope_head_dim=8",
    "model.config.qk_nope_head_dim=8",
    "model.config.v_head_dim=8",
    "model.config.n_routed_experts=4",
    "model.config.num_experts_per_tok=2",
    "model.config.moe_intermediate_size=32",
    "model.config.first_k_dense_replace=1",
    "model.config.n_group=1",
    "model.config.topk_group=1",
)
PLANS: dict[str, tuple[str, ...]] = {
    "llama": ("model.config.tie_word_embeddings=false",),
    "qwen3": (),
    "phi": (),
    "phi3": ("model.config.num_key_value_heads=1",),
    "glm": TINY,
    "gemma": TINY,
    "gemma3_text": TINY,
    "gpt_neox": (),
    "mixtral": ("model.config.num_local_experts=4",),
    "deepseek_v2": LATENT,
    "deepseek_v3": (
        *LATENT,
        "model.config.num_attention_heads=3",
        "model.config.num_key_value_heads=3",
    ),
    "gpt2": GPT2,
    "opt": OPT,
    "bloom": BLOOM,
}
"""Architectures whose plans have words of their own, or are fsft's; the others are in the matrix
of layouts."""


def assert_equal(alone: RunDirectory, divided: RunDirectory) -> None:
    found = deviations(alone, divided)
    assert found.within(BOUNDS["float32"]), found


@pytest.mark.parametrize(
    "model", [model if model == "gpt2" else pytest.param(model, marks=SLOW) for model in PLANS]
)
def test_each_plan_divides_a_model_that_trains_as_a_whole_one(tmp_path: Path, model: str) -> None:
    model_type = (f'model.config.model_type="{model}"', *PLANS[model], CLIPPED)
    alone = trained(tmp_path / "alone", *ALONE.overrides, *model_type, num_processes=1)
    layout = Layout(1, tensor=2)
    divided = trained(tmp_path / "run", *layout.overrides, *model_type, num_processes=2)
    assert_equal(alone, divided)
    shape = shape_of(divided.recipe())
    planned = stage_parameters(Job(shape, 96), 2, 1, 0)
    assert num_held(divided, tied=shape.tied) == 2 * planned.dense + planned.experts


def num_held(run: RunDirectory, *, tied: bool) -> int:
    """The parameters that both ranks hold, each counted as often as it is there."""
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    number = 0
    for file in (run.checkpoints / mark.tag).glob("mp_rank_*_model_states.pt"):
        saved = torch.load(file, weights_only=False)
        others = {*saved["buffer_names"], *(["lm_head.weight"] if tied else [])}
        number += sum(p.numel() for name, p in saved["module"].items() if name not in others)
    return number


@SLOW
@pytest.mark.parametrize("model", ["llama", "qwen2_moe"])
def test_four_processes_divide_each_weight(tmp_path: Path, model: str) -> None:
    shape = (*MODELS[model], "model.config.num_key_value_heads=4", CLIPPED)
    alone = trained(tmp_path / "alone", *ALONE.overrides, *shape, num_processes=1)
    layout = Layout(1, tensor=4)
    assert_equal(alone, trained(tmp_path / "run", *layout.overrides, *shape, num_processes=4))


def write_long_rows(folder: Path) -> Path:
    """A recipe whose micro batches learn of more tokens than have their logits at once."""
    words = [" ".join(f"{number * other}" for other in range(400)) for number in range(16)]
    write_jsonl(folder / "long.jsonl", [dialogue("Count.", each) for each in words])
    text = TINY_RECIPE.replace("train.jsonl", "long.jsonl").replace("= 96", "= 1024")
    return write_tiny_recipe(folder, text.replace("max_position_embeddings = 256", ""))


def test_a_divided_vocabulary_has_the_loss_of_a_whole_one_over_several_chunks(
    tmp_path: Path,
) -> None:
    alone, divided = (
        trained(
            tmp_path / layout.name,
            *layout.overrides,
            CLIPPED,
            num_processes=layout.num_processes,
            write_recipe=write_long_rows,
        )
        for layout in (ALONE, Layout(1, tensor=2))
    )
    tokens_of_step = steps_in(divided.path)[0].tokens
    assert tokens_of_step / 4 > chunk_tokens(32)
    assert_equal(alone, divided)


@SLOW
@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("gpt2", Layout(1, tensor=2, sequence=2)),
        ("opt", Layout(3, tensor=2, sequence=2)),
        ("bloom", Layout(2, tensor=2, data=2)),
        ("gpt2", Layout(0, tensor=4)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_own_plans_go_with_divided_rows_replicas_and_recomputing(
    tmp_path: Path, model: str, layout: Layout
) -> None:
    same = (f'model.config.model_type="{model}"', *PLANS[model], CLIPPED, "data.packing=false")
    alone = trained(tmp_path / "alone", *ALONE.overrides, *same, num_processes=1)
    again = 'parallel.activation_checkpointing="selective"'
    run = trained(
        tmp_path / "run", *layout.overrides, *same, again, num_processes=layout.num_processes
    )
    assert_equal(alone, run)


@SLOW
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_sums_among_processes_are_computed_again_as_they_were(
    tmp_path: Path, checkpointing: str
) -> None:
    alone = trained(tmp_path / "alone", *ALONE.overrides, num_processes=1)
    again = f'parallel.activation_checkpointing="{checkpointing}"'
    layout = Layout(1, tensor=2)
    assert_equal(alone, trained(tmp_path / "run", *layout.overrides, again, num_processes=2))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("alone") / "run"
    return trained(folder, *ALONE.overrides, CLIPPED, num_processes=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Layout(1, tensor=2), Layout(0)),
        pytest.param(Layout(0), Layout(1, tensor=2), marks=SLOW),
        pytest.param(Layout(0), Layout(3, tensor=2), marks=SLOW),
        pytest.param(Layout(0, tensor=2), Layout(1), marks=SLOW),
        pytest.param(Layout(0, tensor=2), Layout(2, tensor=2), marks=SLOW),
        pytest.param(Layout(1, tensor=2), Layout(0, tensor=2), marks=SLOW),
        pytest.param(Layout(1, tensor=2), Layout(2, tensor=2, data=2), marks=SLOW),
        pytest.param(Layout(1, tensor=2), Layout(1, tensor=2, sequence=2), marks=SLOW),
        pytest.param(Layout(1, tensor=2), Layout(3, data=2), marks=SLOW),
        pytest.param(Layout(1, tensor=2, data=2), Layout(1, data=4), marks=SLOW),
        pytest.param(Layout(3, tensor=2), Layout(1), marks=SLOW),
        pytest.param(Layout(3, tensor=2, data=2), Layout(1, tensor=2), marks=SLOW),
        pytest.param(Layout(2, tensor=2), Layout(3, tensor=2), marks=SLOW),
        pytest.param(Layout(3, tensor=2), Layout(3, tensor=2), marks=SLOW),
    ],
    ids=lambda layout: layout.name,
)
def test_a_run_goes_on_where_its_weights_are_divided_otherwise(
    tmp_path: Path, uninterrupted: RunDirectory, before: Layout, after: Layout
) -> None:
    run = trained(tmp_path / "run", *before.overrides, CLIPPED, num_processes=before.num_processes)
    assert_equal(uninterrupted, run)
    shutil.rmtree(run.checkpoints / "step-00000003")
    prepared(tmp_path / "run", *after.overrides, CLIPPED, prepare_data=False)
    train_with(run, after.num_processes)
    assert [event.step for event in events_of(run.path) if event.event == "step"] == [1, 2, 3, 3]
    assert_equal(uninterrupted, run)
    assert not (run.checkpoints / ".universal").exists()


@SLOW
@pytest.mark.parametrize(
    ("model", "layouts"),
    [
        (MODELS["qwen2_moe"], (Layout(1, tensor=2), Layout(0))),
        (
            ('model.config.model_type="gpt2"', *GPT2),
            (Layout(3, tensor=2), Layout(1, tensor=2, pipeline=2), Layout(1)),
        ),
    ],
    ids=["experts", "three matrices in one, transposed"],
)
def test_what_is_cut_in_parts_goes_on_whole_and_divided(
    tmp_path: Path, model: tuple[str, ...], layouts: tuple[Layout, ...]
) -> None:
    alone = trained(tmp_path / "alone", *ALONE.overrides, *model, num_processes=1)
    run = trained(tmp_path / "run", *Layout(0).overrides, *model, num_processes=1)
    for layout in layouts:
        shutil.rmtree(run.checkpoints / "step-00000003")
        prepared(tmp_path / "run", *layout.overrides, *model, prepare_data=False)
        train_with(run, layout.num_processes)
        assert_equal(alone, run)


@SLOW
@pytest.mark.parametrize("zero", [0, 1, 3])
def test_weights_saved_alone_are_joined(
    tmp_path: Path, uninterrupted: RunDirectory, zero: int
) -> None:
    layout = Layout(zero, tensor=2)
    alone = "checkpoint.weights_only=true"
    run = trained(tmp_path / "run", *layout.overrides, CLIPPED, alone, num_processes=2)
    assert_equal(uninterrupted, run)


@SLOW
def test_what_is_not_divided_stays_the_same_to_the_last_bit(tmp_path: Path) -> None:
    model = ('model.config.model_type="qwen3"', CLIPPED)
    layout = Layout(0, tensor=2)
    run = trained(tmp_path / "run", *layout.overrides, *model, num_processes=2)
    mark = latest_checkpoint(run.checkpoints)
    assert mark
    assert mark.tensor == 2
    first, second = (
        torch.load(
            run.checkpoints / mark.tag / f"mp_rank_0{rank}_model_states.pt", weights_only=False
        )["module"]
        for rank in range(2)
    )
    norms = [name for name in first if "norm" in name]
    assert len(norms) == 9
    assert all(torch.equal(first[name], second[name]) for name in norms)
    assert all(first[name].shape == second[name].shape for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], second["model.embed_tokens.weight"])


@SLOW
def test_bf16_stays_near_float32(tmp_path: Path, uninterrupted: RunDirectory) -> None:
    for zero in (0, 1):
        layout = Layout(zero, tensor=2)
        run = trained(
            tmp_path / f"zero-{zero}",
            *layout.overrides,
            CLIPPED,
            'model.dtype="bfloat16"',
            num_processes=2,
        )
        for exact, rounded in zip(steps_in(uninterrupted.path), steps_in(run.path), strict=True):
            assert rounded.loss == pytest.approx(exact.loss, rel=2e-2)
            assert rounded.grad_norm == pytest.approx(exact.grad_norm, rel=5e-2)


@SLOW
def test_the_same_rows_make_up_a_step_however_weights_are_divided(
    tmp_path: Path, uninterrupted: RunDirectory
) -> None:
    layout = Layout(1, tensor=2, data=2, micro_batch=1)
    run = trained(tmp_path / "run", *layout.overrides, CLIPPED, num_processes=4)
    assert_same_training(steps_in(uninterrupted.path), steps_in(run.path), tolerance=2e-5)


@given(
    ranks=st.integers(1, 4),
    parts=st.integers(1, 3),
    dim=st.integers(0, 2),
    others=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_slices_of_a_parameter_join_to_the_whole(
    ranks: int, parts: int, dim: int, others: tuple[int, int]
) -> None:
    from deepspeed.checkpoint.affine import sub_param_map

    shape = [*others]
    shape.insert(dim, 2 * ranks * parts)
    layout = sub_param_map(shape, [2 * ranks] * parts, [[2] * ranks] * parts, dim)
    whole = torch.arange(float(torch.Size(shape).numel())).view(shape)
    parameter: Any = torch.nn.Parameter(torch.empty(0))
    parameter.ds_autotp_universal_checkpoint_meta = {"conversion": {"affine_map": layout.to_dict()}}
    slices = [own_slice(parameter, whole, rank) for rank in range(ranks)]
    assert all(each.shape[dim] == 2 * parts for each in slices)
    joined = Joined(slices, layout)
    assert joined.shape == whole.shape
    assert torch.equal(joined.contiguous(), whole)


def model_of(**config: Any) -> Any:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 64} | config
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**sizes))


@pytest.mark.parametrize(
    ("config", "size", "reason"),
    [
        (
            {"model_type": "falcon", "num_attention_heads": 2},
            2,
            "there is no tensor parallel plan for falcon",
        ),
        (
            {"model_type": "gpt2", "n_head": 4, "n_inner": 50, "n_embd": 32, "n_layer": 1},
            4,
            "50 columns of transformer.h.0.mlp.c_fc cannot be divided by 4",
        ),
        (
            {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2},
            4,
            "2 key-value heads cannot be divided by 4",
        ),
        (
            {"model_type": "llama", "num_attention_heads": 4, "intermediate_size": 50},
            4,
            "50 columns of model.layers.0.mlp.gate_proj cannot be divided by 4",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_in_words(
    config: dict[str, Any], size: int, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        divide(model_of(**config), Axis(size, 0, None))


def test_the_gradients_of_one_input_of_several_layers_are_summed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sums = []

    def doubled(value: torch.Tensor, _group: Any) -> torch.Tensor:
        """As if another process had the same."""
        sums.append(value)
        return 2 * value

    monkeypatch.setattr(tensor_layers, "_sum", doubled)
    plain = [torch.nn.Linear(4, size) for size in (2, 3)]
    layers = [tensor_layers.ColumnLinear(layer, None) for layer in plain]
    for _ in range(2):
        start = torch.randn(5, 4, requires_grad=True)
        inputs = start + 1
        torch.cat([layer(inputs) for layer in layers], dim=-1).sum().backward()
        columns = sum(layer.weight.sum(dim=0) for layer in plain)
        torch.testing.assert_close(start.grad, (2 * columns).expand(5, 4))
    assert len(sums) == 2
    del inputs
    assert tensor_layers._last_shared._result is None


def test_one_process_divides_nothing() -> None:
    model = model_of(model_type="llama", num_attention_heads=4, num_key_value_heads=2)
    before = [*model.modules()]
    divide(model, Axis(1, 0, None))
    assert [*model.modules()] == before


def test_a_checkpoint_of_another_division_needs_conversion() -> None:
    known = {"step": 3, "zero": 1, "global_batch": 8, "model": "tiny"}
    ours = CheckpointMark(**known, num_processes=2, tensor=2)
    # As it was written before weights could be divided.
    assert needs_conversion(CheckpointMark(**known, num_processes=2), ours)
    assert not needs_conversion(CheckpointMark(**known, num_processes=2, tensor=2), ours)
    assert needs_conversion(CheckpointMark(**known, num_processes=4, tensor=2), ours)

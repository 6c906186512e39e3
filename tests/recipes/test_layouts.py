"""Work that cannot be spread as a recipe says is refused in words, by all commands in the same."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.cli.app import main
from fsft.recipes.files import parse_recipe
from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import make_cluster
from fsft.recipes.layouts import described_devices, layout_problems
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.planner.plan import make_plan
from fsft.recipes.planner.questions import fixed_by, job_of, shape_of
from fsft.recipes.planner.smallest import smallest
from tests.support import TINY_RECIPE, write_tiny_recipe

Says = Callable[..., str]

FOUR = "hardware.devices_per_node=4"
EIGHT = "hardware.devices_per_node=8"
CONVOLUTION = 'model.config.layer_types=["conv", "full_attention"]'
HALF_THE_KEYS = (
    "model.config.num_attention_heads=6",
    "model.config.num_key_value_heads=3",
    "model.config.hidden_size=48",
)
MIXTRAL = (
    'model.config.model_type="mixtral"',
    "model.config.num_local_experts=4",
    "model.config.num_experts_per_tok=2",
)
STAGES = ("parallel.pipeline=2", "parallel.gradient_accumulation=4")
NVME = ('parallel.offload_optimizer="nvme"', 'parallel.offload_path="/tmp"')
OPEN = 'parallel.gradient_accumulation="auto"'

ILLEGAL: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    # Weights
    (
        ("parallel.tensor=2", "model.config.num_key_value_heads=1"),
        ("parallel.tensor: 1 key-value heads cannot be divided by TP 2.",),
    ),
    (
        ("parallel.tensor=3", "hardware.devices_per_node=3"),
        (
            "parallel.tensor: 4 heads cannot be divided by TP 3.",
            "parallel.tensor: 2 key-value heads cannot be divided by TP 3.",
            "parallel.tensor: 64 feed-forward columns cannot be divided by TP 3.",
        ),
    ),
    (
        ("parallel.tensor=2", "model.config.intermediate_size=63"),
        ("parallel.tensor: 63 feed-forward columns cannot be divided by TP 2.",),
    ),
    (
        ("parallel.tensor=2", 'model.config.model_type="falcon"'),
        ("parallel.tensor: falcon has no tensor parallel plan.",),
    ),
    (
        ("parallel.tensor=2", "hardware.nodes=2", "hardware.devices_per_node=1"),
        ("parallel.tensor: TP 2 does not stay inside a node of 1.",),
    ),
    # Rows
    (
        ("parallel.sequence=3", "hardware.devices_per_node=3"),
        ("parallel.sequence: 4 heads cannot be divided by SP 3.",),
    ),
    (
        ("parallel.sequence=2", *HALF_THE_KEYS),
        ("parallel.sequence: 3 key-value heads cannot be spread over SP 2.",),
    ),
    (
        ("parallel.sequence=2", "data.sequence_length=97"),
        ("parallel.sequence: 97 tokens cannot be divided by SP 2.",),
    ),
    (
        ("parallel.sequence=4", "parallel.tensor=2", EIGHT),
        ("parallel.sequence: 2 heads cannot be divided by SP 4.",),
    ),
    (
        ("parallel.sequence=2", 'model.config.model_type="bloom"'),
        (
            "parallel.sequence: bloom lets tokens see each other in a way of its own, which gets "
            "no whole rows.",
        ),
    ),
    (
        ("parallel.sequence=2", 'model.config.model_type="lfm2"', CONVOLUTION),
        (
            "parallel.sequence: lfm2 lets tokens see each other in a way of its own, which gets "
            "no whole rows.",
        ),
    ),
    # Experts
    (("parallel.expert=2",), ("parallel.expert: llama has no experts.",)),
    (
        (*MIXTRAL, "parallel.expert=3", "hardware.devices_per_node=3"),
        ("parallel.expert: 4 experts cannot be divided by EP 3.",),
    ),
    (
        (*MIXTRAL, "parallel.expert=4"),
        ("parallel.expert: 2 data ranks cannot be divided by EP 4.",),
    ),
    (
        (*MIXTRAL, "parallel.expert=2", "parallel.zero=3"),
        ("parallel.expert: ZeRO 3 and expert parallelism exclude each other.",),
    ),
    (
        (*MIXTRAL, "parallel.expert=2", "parallel.tensor=2", FOUR),
        ("parallel.expert: experts are spread over data parallel ranks only.",),
    ),
    (
        (*MIXTRAL, "parallel.expert=2", *STAGES, FOUR),
        ("parallel.expert: experts are spread over data parallel ranks only.",),
    ),
    # Stages
    *(
        ((*STAGES, f"parallel.zero={zero}"), (f"a pipeline runs with ZeRO 1, not {zero}.",))
        for zero in (0, 2, 3)
    ),
    (
        (*STAGES, "parallel.pipeline=4", FOUR),
        ("parallel.pipeline: 2 layers are fewer than 4 stages.",),
    ),
    (
        (*STAGES, "parallel.pipeline_split=[1, 2]"),
        ("parallel.pipeline: pipeline_split names 3 layers, and the model has 2.",),
    ),
    (
        ("parallel.pipeline=2",),
        ("parallel.gradient_accumulation: 1 micro batches leave most of 2 stages idle.",),
    ),
    (
        ("parallel.pipeline=2", OPEN, "parallel.global_batch=1"),
        ("parallel.global_batch: 1 micro batches leave most of 2 stages idle.",),
    ),
    (
        (*STAGES, *MIXTRAL, "model.config.output_router_logits=true"),
        ("model.config.output_router_logits: the loss that keeps experts equally busy is not",),
    ),
    # Processes
    (
        ("parallel.tensor=2", "hardware.devices_per_node=3"),
        ("parallel.tensor: 3 processes cannot be divided into groups of 2 (tensor 2).",),
    ),
    (
        ("parallel.sequence=4",),
        ("parallel.sequence: 2 processes cannot be divided into groups of 4 (sequence 4).",),
    ),
    (
        (*STAGES, "parallel.tensor=2", "hardware.nodes=3"),
        ("6 processes cannot be divided into groups of 4 (tensor 2 × pipeline 2).",),
    ),
    # Rows of a step
    (
        ("parallel.global_batch=6", OPEN, FOUR),
        ("parallel.global_batch: a global batch of 6 cannot be divided by micro_batch 1 × 4 ",),
    ),
    (
        ("parallel.global_batch=6", OPEN, "parallel.micro_batch=2"),
        ("a global batch of 6 cannot be divided by micro_batch 2 × 2 replicas.",),
    ),
    (
        ("parallel.global_batch=7", OPEN, 'parallel.micro_batch="auto"'),
        ("a global batch of 7 cannot be divided by 2 replicas.",),
    ),
    (
        ("parallel.global_batch=8",),
        ("micro_batch 1 × gradient_accumulation 1 × 2 replicas is 2, not 8.",),
    ),
    # States off the device
    (
        ("parallel.zero=0", 'parallel.offload_optimizer="cpu"'),
        ("parallel.offload_optimizer: offloading needs ZeRO 1 or more.",),
    ),
    (
        ("parallel.zero=2", 'parallel.offload_optimizer="cpu"', 'parallel.offload_weights="cpu"'),
        ("parallel.offload_weights: offloading weights needs ZeRO 3.",),
    ),
    (NVME, ("parallel.offload_optimizer: offloading to NVMe needs ZeRO 3.",)),
    (
        ("parallel.zero=3", 'parallel.offload_weights="cpu"'),
        ("parallel.offload_weights: weights are offloaded after the optimizer.",),
    ),
    (
        (*MIXTRAL, "parallel.expert=2", 'parallel.offload_optimizer="cpu"'),
        ("offloading goes neither with a pipeline nor with experts that are spread.",),
    ),
    # Several things at once
    (
        (*STAGES, "parallel.pipeline=3", "parallel.zero=3", "parallel.expert=2"),
        (
            "2 processes cannot be divided into groups of 3 (pipeline 3).",
            "a pipeline runs with ZeRO 1, not 3.",
            "2 layers are fewer than 3 stages.",
            "llama has no experts.",
        ),
    ),
]


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    """What a command that refuses the tiny recipe says."""
    write_tiny_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)

    def says(command: str, *overrides: str) -> str:
        changes = [part for each in overrides for part in ("--set", each)]
        monkeypatch.setattr(sys, "argv", ["fsft", command, "tiny.toml", *changes])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 3
        assert not (tmp_path / "runs").exists()
        return capsys.readouterr().err

    return says


@pytest.mark.parametrize(("overrides", "reasons"), ILLEGAL)
def test_check_and_run_refuse_what_cannot_be_in_the_same_words(
    says: Says, overrides: tuple[str, ...], reasons: tuple[str, ...]
) -> None:
    said = says("check", *overrides)
    assert said == says("run", *overrides)
    for reason in reasons:
        assert reason in said
    # One thing is said once, and with what to do.
    lines = said.splitlines()
    assert len(set(lines)) == len(lines)
    assert said.count("For example: ") == len(lines)


def test_an_architecture_that_torch_has_to_count_is_checked_as_it_is_run(says: Says) -> None:
    ids = [f"model.config.{name}_token_id=0" for name in ("bos", "eos", "pad")]
    unknown = ('model.config.model_type="olmo3"', *ids, "parallel.tensor=2")
    said = says("check", *unknown)
    assert "parallel.tensor: olmo3 has no tensor parallel plan." in said
    assert said == says("run", *unknown)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("parallel.tensor=3",), "2 processes cannot be divided into groups of 3 (tensor 3)."),
        ((*STAGES, "parallel.zero=2"), "a pipeline runs with ZeRO 1, not 2."),
        (("parallel.expert=2", "parallel.zero=3"), "ZeRO 3 and expert parallelism exclude"),
        (("parallel.sequence=2", "data.sequence_length=97"), "97 tokens cannot be divided"),
        (("parallel.global_batch=7", OPEN), "a global batch of 7 cannot be divided by"),
    ],
)
def test_a_model_that_cannot_be_read_here_is_checked_as_far_as_can_be(
    says: Says, overrides: tuple[str, ...], reason: str
) -> None:
    start, end = TINY_RECIPE.index("[model]"), TINY_RECIPE.index("[data]")
    text = f'{TINY_RECIPE[:start]}[model]\npath = "nobody/unknown"\n\n{TINY_RECIPE[end:]}'
    write_tiny_recipe(Path(), text.replace("[data.tokenizer]\nvocab_size = 320\n", ""))
    said = says("check", *overrides)
    assert reason in said
    assert said == says("run", *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("parallel.expert=2",),
        ('parallel.expert="auto"',),
        ("parallel.tensor=4",),
        ("parallel.global_batch=7", OPEN),
    ],
)
def test_what_is_not_known_forbids_nothing(overrides: tuple[str, ...]) -> None:
    recipe = parse_recipe(TINY_RECIPE, overrides=overrides)
    assert not layout_problems(recipe, None, None)


def test_what_is_left_to_the_planner_forbids_nothing() -> None:
    keys = ("zero", "micro_batch", "tensor", "pipeline", "sequence", "expert")
    overrides = [f'parallel.{key}="auto"' for key in keys]
    recipe = parse_recipe(TINY_RECIPE, overrides=[*overrides, OPEN, "parallel.global_batch=8"])
    assert not layout_problems(recipe, load_shape("Qwen2-VL-7B"), 3)


SIZES = st.sampled_from([1, 1, 1, 2, 2, 3, 4, "auto"])
MODELS = st.sampled_from([(), HALF_THE_KEYS, MIXTRAL, ('model.config.model_type="bloom"',)])


@settings(max_examples=100, deadline=None)
@given(
    parallel=st.fixed_dictionaries(
        {
            "zero": st.sampled_from([0, 1, 2, 3, "auto"]),
            "tensor": SIZES,
            "pipeline": SIZES,
            "sequence": SIZES,
            "expert": SIZES,
            "micro_batch": SIZES,
            "global_batch": st.sampled_from([4, 6, 8, 24]),
            "offload_optimizer": st.sampled_from(["none", "cpu"]),
        }
    ),
    nodes=st.integers(1, 2),
    devices=st.integers(1, 8),
    model=MODELS,
)
def test_what_is_refused_has_no_layout_and_what_is_decided_and_not_refused_has_one(
    parallel: dict[str, Any], nodes: int, devices: int, model: tuple[str, ...]
) -> None:
    keys = [f"parallel.{key}={json.dumps(value)}" for key, value in parallel.items()]
    recipe = parse_recipe(TINY_RECIPE, overrides=[*model, *keys, OPEN])
    shape = shape_of(recipe)
    device = find_accelerator("A100-80GB-SXM")
    cluster = make_cluster(device, nodes=nodes, devices_per_node=devices)
    plan = make_plan(job_of(recipe, shape, cluster), cluster, fixed_by(recipe.parallel))
    hardware = recipe.hardware.model_copy(update={"nodes": nodes})
    refused = layout_problems(recipe.model_copy(update={"hardware": hardware}), shape, devices)
    has_layout = bool(plan.best or smallest(plan))
    assert not (refused and has_layout)
    if "auto" not in parallel.values():
        assert refused or has_layout


@pytest.mark.parametrize(
    "overrides",
    [
        ("parallel.tensor=2", "model.config.vocab_size=323"),
        ("parallel.sequence=4", FOUR),
        (*STAGES, "model.config.num_hidden_layers=3"),
        (*STAGES, "parallel.tensor=2", "parallel.sequence=2", EIGHT),
        (*MIXTRAL, "parallel.expert=2", "parallel.sequence=2"),
    ],
)
def test_what_need_not_be_even_is_not_refused(overrides: tuple[str, ...]) -> None:
    recipe = parse_recipe(TINY_RECIPE, overrides=overrides)
    assert not layout_problems(recipe, shape_of(recipe), described_devices(recipe.hardware))


def test_rows_with_images_are_not_divided() -> None:
    recipe = parse_recipe(TINY_RECIPE, overrides=["parallel.sequence=2"])
    (problem,) = layout_problems(recipe, load_shape("Qwen2-VL-7B"), 2)
    assert str(problem).startswith("parallel.sequence: rows with images cannot be divided.")

"""Half layers add up to whole ones, in all that the planner counts."""

from dataclasses import replace
from typing import Literal

import pytest

from fsft.recipes.models.catalogue import catalogue
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.planner.activations import pair_bytes, saved_by_layer
from fsft.recipes.planner.explain import stages_words
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.legal import why_no_stages
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.stages import input_bytes, layers_of_stage, stage_parameters
from fsft.recipes.planner.style import fsft_style
from fsft.recipes.planner.work import stage_work
from tests.recipes.planner.jobs import job, llama_like

UNEVEN = (3, 2, 1, 2)
FOUR = Layout(pipeline=4, micro_batch=2, gradient_accumulation=8)


def halved(split: tuple[int, ...] = UNEVEN, *, experts: int = 0) -> Job:
    shape = llama_like(layers=sum(split) // 2, experts=experts)
    return replace(job(shape), split=split, units="halves")


@pytest.mark.parametrize("attention", ["fused", "masked", "scores"])
def test_the_halves_of_every_known_layer_keep_and_hold_what_it_does(
    attention: Literal["fused", "masked", "scores"],
) -> None:
    style = fsft_style("bfloat16", attention)
    for shape in map(load_shape, catalogue()):
        for layer, _ in shape.stack.layers:
            if layer.parallel:
                continue
            halves = layer.halves
            assert sum(half.num_parameters for half in halves) == layer.num_parameters
            kept = [saved_by_layer(half, style).on_one_of(2) for half in halves]
            assert sum(kept) == pytest.approx(saved_by_layer(layer, style).on_one_of(2))
            pairs = [pair_bytes(half.attention, style, 8192) for half in halves]
            assert pairs == [pair_bytes(layer.attention, style, 8192), 0.0]


@pytest.mark.parametrize("experts", [0, 8])
def test_stages_of_halves_have_together_what_those_of_layers_have(experts: int) -> None:
    whole = job(llama_like(layers=4, experts=experts))
    parts = halved(experts=experts)
    for name in ("dense", "experts"):
        expected, found = (
            sum(getattr(stage_parameters(each, 2, 4, stage), name) for stage in range(4))
            for each in (whole, parts)
        )
        assert found == pytest.approx(expected)
    for name in ("products", "attention", "product_bytes", "kernels", "head"):
        expected, found = (
            sum(getattr(stage_work(each, 2, 4, stage, 1, False), name) for stage in range(4))
            for each in (whole, parts)
        )
        assert found == pytest.approx(expected), name


def test_a_stage_begins_and_ends_with_the_halves_that_are_its_own() -> None:
    found = halved()
    (layer, _), *_ = found.shape.stack.layers
    attention, rest = layer.halves
    assert [layers_of_stage(found, 4, stage) for stage in range(4)] == [
        ((layer, 1), (attention, 1)),
        ((rest, 1), (attention, 1)),
        ((rest, 1),),
        ((layer, 1),),
    ]


def test_a_half_keeps_an_input_of_its_own_where_it_is_computed_again() -> None:
    layout = FOUR._replace(checkpointing="full")
    one = 2.0 * halved().shape.hidden
    assert [input_bytes(halved(), layout, stage) / one for stage in range(4)] == [2, 2, 1, 1]


def test_every_second_layer_is_computed_again_in_both_of_its_halves() -> None:
    layout = FOUR._replace(checkpointing="full", checkpointed_every=2)
    one = 2.0 * halved().shape.hidden
    # The first stage has all of the first layer, the next two have half of the third each.
    assert [input_bytes(halved(), layout, stage) / one for stage in range(4)] == [1, 1, 1, 0]


def test_memory_is_known_of_a_stage_that_is_half_a_layer() -> None:
    attention = plan_memory(halved((1, 7)), FOUR._replace(pipeline=2), stage=0)
    layer = plan_memory(halved((2, 6)), FOUR._replace(pipeline=2), stage=0)
    assert 0 < attention.device_total < layer.device_total


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("meta-llama/Llama-3.1-8B", None),
        ("google/gemma-2-9b", None),
        (
            "EleutherAI/pythia-6.9b",
            "attention and feed-forward of gpt_neox read the same, and no stage can end between "
            "them",
        ),
    ],
)
def test_where_both_read_the_same_no_stage_ends_between_them(
    model: str, expected: str | None
) -> None:
    assert why_no_stages(load_shape(model), "cost", 2, "halves") == expected


def test_the_plan_says_what_its_stages_are_made_of() -> None:
    assert stages_words(halved(), 4) == "stages = 3 + 2 + 1 + 2 halves of layers (as given)"
    even = replace(halved(), split="measured", units="layers")
    assert stages_words(even, 2) == (
        "stages = 3 + 1 layers (even in arithmetic; measured when training starts)"
    )

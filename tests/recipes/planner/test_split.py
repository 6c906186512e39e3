"""Layers are spread over stages so that the dearest is as cheap as can be."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.planner.split import (
    Split,
    Units,
    balanced,
    units_per_stage,
    why_not_split,
)
from tests.recipes.planner.jobs import job

COSTS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=7)
BESIDES = st.sampled_from([0.0, 1.0, 4.0])


@given(COSTS, BESIDES, BESIDES, st.data())
def test_no_other_split_has_a_cheaper_dearest_stage_or_more_even_ones(
    costs: list[float], first: float, last: float, data: st.DataObject
) -> None:
    stages = data.draw(st.integers(1, len(costs)))

    def rank(sizes: Sequence[int]) -> tuple[float, float, list[int]]:
        ends = [sum(sizes[:stage]) for stage in range(stages + 1)]
        sums = [sum(costs[start:end]) for start, end in pairwise(ends)]
        sums[0] += first
        sums[-1] += last
        return max(sums), sum(each * each for each in sums), [-size for size in sizes]

    cuts = combinations(range(1, len(costs)), stages - 1)
    every = ([b - a for a, b in pairwise([0, *cut, len(costs)])] for cut in cuts)
    assert list(balanced(costs, stages, first, last)) == min(every, key=rank)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("even", (8, 8, 8, 8)),
        # A vocabulary of 128k costs as much arithmetic as two and a half layers.
        ("cost", (9, 9, 8, 6)),
        ("memory", (7, 9, 9, 7)),
        ((10, 10, 10, 2), (10, 10, 10, 2)),
    ],
)
def test_the_output_projection_counts_as_cost_and_both_ends_as_memory(
    split: Split, expected: tuple[int, ...]
) -> None:
    shape = replace(job().shape, vocab_size=128_256)
    assert units_per_stage(shape, 4, split, 4096) == expected


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("even", (16, 16, 16, 16)),
        # The head costs as much as two layers and a fifth.
        ("cost", (17, 17, 17, 13)),
        ((21, 20, 20, 3), (21, 20, 20, 3)),
    ],
)
def test_stages_of_half_layers_are_more_alike(split: Split, expected: tuple[int, ...]) -> None:
    shape = replace(job().shape, vocab_size=128_256)
    found = units_per_stage(shape, 4, split, 4096, "halves")
    assert found == expected


@pytest.mark.parametrize(
    ("split", "stages", "units", "expected"),
    [
        ("cost", 5, "layers", "4 layers are fewer than 5 stages"),
        ((1, 2, 1), 2, "layers", "pipeline_split names 3 stages, not 2"),
        ((1, 2), 2, "layers", "pipeline_split names 3 layers, and the model has 4"),
        ((1, 3), 2, "layers", None),
        ("cost", 5, "halves", None),
        ("measured", 9, "halves", "8 halves of layers are fewer than 9 stages"),
        ((1, 3), 2, "halves", "pipeline_split names 4 halves of layers, and the model has 8"),
    ],
)
def test_a_split_that_does_not_fit_is_told_in_words(
    split: Split, stages: int, units: Units, expected: str | None
) -> None:
    assert why_not_split(split, stages, num_layers=4, units=units) == expected

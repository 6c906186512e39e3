"""Which layers each stage of a pipeline has: one answer for the planner and for training."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from fsft.recipes.models.shape import Layer, ModelShape

Split = Literal["even", "cost", "measured", "memory"] | tuple[int, ...]
"""By number of units, arithmetic, measured time or parameters, or the units of each stage."""
Units = Literal["layers", "halves"]
"""What stages are made of: halves are the attention of a layer, and its feed-forward block."""


@lru_cache(maxsize=1024)
def units_per_stage(
    shape: ModelShape, stages: int, split: Split, sequence_length: int, units: Units = "layers"
) -> tuple[int, ...]:
    """The number of units of each stage, at least one, first to last.

    The dearest stage is as cheap as can be, and then stages are as alike as can be. "cost" counts
    FLOPs of a token, of which the output projection has its part, and so does "measured", as long
    as nothing is; "memory" counts parameters, those of the embedding and of the head too. There are
    at least as many units as stages.
    """
    if not isinstance(split, str):
        return split
    parts = parts_of(shape, units)
    if split == "even":
        return balanced([1.0] * len(parts), stages)
    head = shape.num_head_parameters + (shape.num_embedding_parameters if shape.tied else 0)
    if split == "memory":
        each = [float(part.num_parameters) for part in parts]
        return balanced(each, stages, float(shape.num_embedding_parameters), float(head))
    each = [layer_flops(part, sequence_length) for part in parts]
    return balanced(each, stages, last=2.0 * shape.hidden * shape.vocab_size)


def parts_of(shape: ModelShape, units: Units) -> tuple[Layer, ...]:
    """The units of a model from first to last: its layers, or two halves of each."""
    layers = shape.stack.per_layer()
    return layers if units == "layers" else tuple(half for each in layers for half in each.halves)


def units_per_layer(units: Units) -> int:
    """How many units a layer has."""
    return 1 if units == "layers" else 2


def layer_flops(layer: Layer, length: int) -> float:
    """Forward FLOPs of a token in a sample of `length` tokens: products, and causal attention."""
    attention = layer.attention
    seen = min(length, attention.window or length)
    widths = attention.query_size + attention.output_size
    return 2.0 * layer.num_matmul_parameters + widths * seen


def why_not_split(
    split: Split, stages: int, num_layers: int, units: Units = "layers"
) -> str | None:
    """One clause on why layers cannot be spread so over several stages; None where they can."""
    number = num_layers * units_per_layer(units)
    if number < stages:
        return f"{number} {WORDS[units]} are fewer than {stages} stages"
    if isinstance(split, str):
        return None
    if len(split) != stages:
        return f"pipeline_split names {len(split)} stages, not {stages}"
    if sum(split) != number:
        return f"pipeline_split names {sum(split)} {WORDS[units]}, and the model has {number}"
    return None


WORDS: dict[Units, str] = {"layers": "layers", "halves": "halves of layers"}
"""Units, for people."""


def balanced(
    costs: Sequence[float], stages: int, first: float = 0.0, last: float = 0.0
) -> tuple[int, ...]:
    """Items of each stage; `first` and `last` are what these two cost besides.

    Of all partitions with the least cost of the dearest stage, that with the least sum of squares;
    of equal ones, that whose first stages are the largest.
    """
    sums = [0.0, *accumulate(costs)]
    num_items = len(costs)

    def cost(stage: int, start: int, end: int) -> float:
        besides = first * (stage == 0) + last * (stage == stages - 1)
        return sums[end] - sums[start] + besides

    limit = _least_limit(cost, num_items, stages) * _EQUAL
    # For each stage, from each start on: the least sum of squares, and where the stage then ends.
    best = {num_items: (0.0, num_items)}
    ends: list[dict[int, tuple[float, int]]] = []
    for stage in reversed(range(stages)):
        later, best = best, {}
        for start in range(stage, num_items - (stages - 1 - stage)):
            found = (math.inf, start + 1)
            for end in range(start + 1, num_items + 1):
                if (own := cost(stage, start, end)) > limit:
                    break
                total = own * own + later.get(end, (math.inf, 0))[0]
                if total <= found[0] * _EQUAL:
                    found = (min(total, found[0]), end)
            best[start] = found
        ends.insert(0, best)
    sizes, start = [], 0
    for each in ends:
        end = each[start][1]
        sizes.append(end - start)
        start = end
    return tuple(sizes)


_EQUAL = 1 + 1e-9
"""Sums of the same costs in another order differ in their last digits."""


def _least_limit(cost: Callable[[int, int, int], float], num_items: int, stages: int) -> float:
    """What the dearest stage costs at the least; found by halving what is left to search."""

    def suffices(limit: float) -> bool:
        start = 0
        for stage in range(stages):
            most = num_items - (stages - 1 - stage)
            end = start + 1
            while end < most and cost(stage, start, end + 1) <= limit:
                end += 1
            if cost(stage, start, end) > limit:
                return False
            start = end
        return start == num_items

    low, high = 0.0, sum(cost(stage, 0, num_items) for stage in range(stages))
    while high > low * _EQUAL:
        middle = (low + high) / 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high

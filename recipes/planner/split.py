"""Which layers each stage of a pipeline has: one answer for the planner and for training."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from fsft.recipes.models.shape import Layer, ModelShape

Split = Literal["even", "cost", "memory"] | tuple[int, ...]
"""By number of layers, by arithmetic, by parameters, or the layers of each stage."""


@lru_cache(maxsize=1024)
def layers_per_stage(
    shape: ModelShape, stages: int, split: Split, sequence_length: int
) -> tuple[int, ...]:
    """The number of layers of each stage, at least one, first to last.

    The dearest stage is as cheap as can be, and then stages are as alike as can be. "cost" counts
    FLOPs of a token, of which the output projection has its part; "memory" counts parameters, those
    of the embedding and of the head too. There are at least as many layers as stages.
    """
    if not isinstance(split, str):
        return split
    layers = shape.stack.per_layer()
    if split == "even":
        return _balanced([1.0] * len(layers), stages)
    head = shape.num_head_parameters + (shape.num_embedding_parameters if shape.tied else 0)
    if split == "memory":
        each = [float(layer.num_parameters) for layer in layers]
        return _balanced(each, stages, float(shape.num_embedding_parameters), float(head))
    each = [layer_flops(layer, sequence_length) for layer in layers]
    return _balanced(each, stages, last=2.0 * shape.hidden * shape.vocab_size)


def layer_flops(layer: Layer, length: int) -> float:
    """Forward FLOPs of a token in a sample of `length` tokens: products, and causal attention."""
    attention = layer.attention
    seen = min(length, attention.window or length)
    widths = attention.query_size + attention.output_size
    return 2.0 * layer.num_matmul_parameters + widths * seen


def why_not_split(split: Split, stages: int, num_layers: int) -> str | None:
    """One clause on why layers cannot be spread so over several stages; None where they can."""
    if num_layers < stages:
        return f"{num_layers} layers are fewer than {stages} stages"
    if isinstance(split, str):
        return None
    if len(split) != stages:
        return f"pipeline_split names {len(split)} stages, not {stages}"
    if sum(split) != num_layers:
        return f"pipeline_split names {sum(split)} layers, and the model has {num_layers}"
    return None


def _balanced(
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

"""What each stage of a pipeline has: one answer for all processes, before the model is divided."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.planner.questions import split_of
from fsft.recipes.planner.split import (
    Units,
    balanced,
    units_per_layer,
    units_per_stage,
    why_not_split,
)
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.train.batches import Batch
from fsft.runtime.train.halves import Halves
from fsft.runtime.train.marks import CheckpointMark
from fsft.runtime.train.measured import Measured, measured


@dataclass(frozen=True)
class Stages:
    """The stages of a pipeline; none without one."""

    sizes: tuple[int, ...] = ()
    """The units of each."""
    units: Units = "layers"
    halves: Mapping[int, Halves] = field(default_factory=dict)
    """Of the layers that two stages share."""
    is_measured: bool = False
    times: Measured | None = None
    """Where units were measured just now."""

    def __bool__(self) -> bool:
        return bool(self.sizes)

    def take(
        self, layers: torch.nn.ModuleList, pass_on: Callable[[], torch.nn.Module], *, stage: int
    ) -> None:
        """Let only what `stage` has be left of a model's layers.

        `pass_on`: makes what is in the place of a layer, and gives what it is given.
        """
        size, start = units_per_layer(self.units), sum(self.sizes[:stage])
        own = range(start, start + self.sizes[stage])
        for index in range(len(layers)):
            here = [index * size + part in own for part in range(size)]
            if not any(here):
                layers[index] = pass_on()
            elif not all(here):
                self.halves[index].keep(layers[index], second=here[1])


NO_STAGES = Stages()


def plan_stages(
    recipe: Recipe, model: Any, saved: CheckpointMark | None, batch: Callable[[], Batch]
) -> Stages:
    """The stages that the recipe asks for; all processes ask at the same time.

    `model`: whole, on the host, with the attention of one device. `saved`: the checkpoint that
    training goes on from. `batch`: makes a micro batch, where units are measured with it. Raises
    Refused where the model cannot be spread so.
    """
    parallel = recipe.parallel
    number, split, units = parallel.settled.pipeline, split_of(parallel), parallel.pipeline_units
    if number == 1:
        return NO_STAGES
    num_layers = model.config.get_text_config().num_hidden_layers
    if reason := why_not_split(split, number, num_layers, units):
        raise Refused(Problem(key="parallel.pipeline_split", reason=f"{reason}."))
    times = None
    if split != "measured":
        shape = read_shape(model.config.to_dict())
        sizes = units_per_stage(shape, number, split, recipe.data.sequence_length, units)
    elif kept := _kept(saved, number, num_layers * units_per_layer(units)):
        sizes = kept
    else:
        times = _on_first(lambda: measured(recipe, model, batch()))
        sizes = balanced(times.units, number, times.embedding, times.head)
    return Stages(sizes, units, _halves(model, sizes, units), split == "measured", times)


def _kept(saved: CheckpointMark | None, stages: int, num_units: int) -> tuple[int, ...]:
    """The stages that were measured when training began, as long as there are as many."""
    if saved is None or not saved.is_measured:
        return ()
    sizes = tuple(saved.stage_layers)
    return sizes if len(sizes) == stages and sum(sizes) == num_units else ()


def _on_first(measure: Callable[[], Measured]) -> Measured:
    """What the first process measures, in all processes."""
    found = [measure() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(found, src=0)
    (times,) = found
    assert times is not None
    return times


def _halves(model: Any, sizes: tuple[int, ...], units: Units) -> dict[int, Halves]:
    """Of each layer in which a stage ends."""
    if units == "layers":
        return {}
    ends = list(accumulate(sizes))[:-1]
    return {end // 2: Halves.of(model, end // 2) for end in ends if end % 2}

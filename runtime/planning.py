"""Planning before the start: "auto" is answered, and what cannot fit is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.hardware.detect import detected_cluster
from fsft.recipes.layouts import layout_problems
from fsft.recipes.models.from_config import UnknownArchitecture
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.fit import why_not
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.plan import Plan, make_plan
from fsft.recipes.planner.questions import (
    cluster_of,
    config_of,
    fixed_by,
    job_of,
    overrides_to,
    settle,
    shape_of,
)
from fsft.recipes.planner.ranges import memory_range
from fsft.recipes.planner.remedies import find_remedies
from fsft.recipes.planner.search import Candidate, Rank, search
from fsft.recipes.planner.smallest import smallest
from fsft.recipes.problems import Problem, RecipeError, Refused
from fsft.recipes.schema import Recipe
from fsft.recipes.units import format_gib
from fsft.runtime.hardware import Devices, find_devices
from fsft.runtime.offloading import offload_problems


@dataclass(frozen=True)
class Planned:
    """A recipe with nothing left open, and what the planner expects of it."""

    recipe: Recipe
    expected: dict[str, Any]
    """For the lock: bytes and seconds; empty where the model's shape is not known."""
    trouble: Problem | None = None
    """Why it cannot be trained here: it does not fit."""


def planned(recipe: Recipe) -> Planned:
    """The recipe with every "auto" of [parallel] answered for this machine.

    What is left open where nothing fits takes the least memory. Raises Refused where work cannot be
    spread as the recipe says, and where the model cannot be planned for although something is left
    open.
    """
    shape: ModelShape | None = None
    unknown: Sequence[Problem] = ()
    try:
        shape = model_shape(recipe)
    except RecipeError as error:
        unknown = error.problems
    devices = find_devices(recipe.hardware)
    _require(
        [*layout_problems(recipe, shape, devices.per_node), *offload_problems(recipe.parallel)]
    )
    open_keys = recipe.parallel.open_keys
    if shape is None:
        if not open_keys:
            return Planned(recipe, {})
        raise Refused(
            *unknown,
            Problem(
                key=f"parallel.{open_keys[0]}",
                reason="cannot be left to the planner for a model that it does not know.",
                example="give a number",
            ),
        )
    cluster = _cluster(recipe, devices)
    plan = make_plan(job_of(recipe, shape, cluster), cluster, fixed_by(recipe.parallel))
    best = plan.best or _smallest(plan)
    settled = settle(recipe, best.layout)
    _require(layout_problems(settled, shape, devices.per_node))
    if plan.best:
        _require(offload_problems(settled.parallel))
    trouble = None if plan.best else _too_large(plan, best)
    return Planned(settled, _expected(plan, best), trouble)


def smaller_layout(recipe: Recipe) -> str:
    """The best layout that surely needs less memory than the recipe's was planned to, in words.

    Asked after the recipe's layout, with nothing left open, turned out to be too large. Names what
    else would help where no layout needs less; empty where nothing is found. Raises RecipeError for
    a model that the planner does not know.
    """
    shape = model_shape(recipe)
    cluster = _cluster(recipe, find_devices(recipe.hardware))
    job = job_of(recipe, shape, cluster)
    present = make_plan(job, cluster, fixed_by(recipe.parallel))
    failed = present.best or _smallest(present)
    # What it was planned to need is more than there is.
    room = min(cluster.accelerator.memory, failed.memory.device_total)
    smaller = replace(cluster, accelerator=cluster.accelerator.with_memory(room))
    job = replace(job, global_batch=failed.layout.global_batch)
    found = search(job, smaller).best
    if found is None or found.fits != "yes":
        remedies = find_remedies(job, smaller, {})
        return f"What the planner finds: {remedies[0].change}." if remedies else ""
    changes = " ".join(f"--set {change}" for change in overrides_to(found.layout, recipe.parallel))
    sizes = (found.memory.device_total, failed.memory.device_total)
    planned_sizes = "{} planned, and {} for this one".format(*map(format_gib, sizes))
    return f"The planner's next best layout: {changes} ({planned_sizes})."


def _cluster(recipe: Recipe, devices: Devices) -> Cluster:
    hardware = recipe.hardware.model_copy(update={"devices_per_node": devices.per_node})
    return cluster_of(hardware, detected_cluster(devices.accelerator))


def model_shape(recipe: Recipe) -> ModelShape:
    """The shape of the recipe's model; torch counts what has no reader.

    Raises RecipeError where neither knows the model.
    """
    try:
        return shape_of(recipe)
    except UnknownArchitecture:
        from fsft.runtime.trace.unknown import counted_shape

        return counted_shape(config_of(recipe))


def _smallest(plan: Plan) -> Candidate:
    """The layout that is rejected for the least memory; raises Refused where none is legal."""
    found = smallest(plan)
    if found is None:
        rejected = plan.search.rejected
        reason = rejected[0].reason if rejected else "the batch cannot be divided"
        raise Refused(
            Problem(
                key="parallel",
                reason=f"no layout can do this: {reason}.",
                example="other numbers in [parallel], or auto",
            )
        )
    memory = plan_memory(plan.job, found.layout)
    return Candidate(found.layout, memory, None, "no", Rank(1, 0, 0, 0, 0))


def _too_large(plan: Plan, closest: Candidate) -> Problem:
    reason = why_not(plan.job, closest.memory, plan.cluster)
    example = "--force starts all the same"
    if plan.remedies:
        example = f"{plan.remedies[0].change}; {example}"
    return Problem(
        key="parallel",
        reason=f"the run does not fit on {plan.cluster.accelerator.name}: {reason}.",
        example=example,
    )


def _expected(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    memory = candidate.memory
    expected: dict[str, Any] = {
        "layout": {k: v for k, v in candidate.layout._asdict().items() if v is not None},
        "device_memory_bytes": memory_range(memory.device_total, plan.job.style.family)._asdict(),
        "allocated_bytes": memory.allocated,
    }
    if candidate.time:
        expected["seconds_per_step"] = candidate.time.seconds
    return expected


def _require(problems: Iterable[Problem]) -> None:
    """Raises Refused with the problems, where there are any."""
    if found := list(problems):
        raise Refused(*found)

"""Why work cannot be spread as a recipe says, told before anything is planned or trained."""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

from fsft.recipes.hardware.detect import CPU_PROCESSES
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.pipelines import pipeline_problems
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.legal import (
    expert_reasons,
    head_reasons,
    offload_reasons,
    row_reasons,
    tensor_reasons,
    why_idle,
    why_not_batch,
    why_not_even,
    why_not_in_node,
)
from fsft.recipes.planner.questions import shape_of
from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Hardware, Parallel, Recipe


def layout_problems(
    recipe: Recipe, shape: ModelShape | None, devices_per_node: int | None
) -> list[Problem]:
    """All that is wrong at once; what is not known, or left to the planner, forbids nothing.

    `shape`, `devices_per_node`: None where they are not known.
    """
    problems: list[Problem] = []
    num_processes = None
    if devices_per_node is not None:
        num_processes = devices_per_node * recipe.hardware.nodes
        problems += _machine_problems(recipe.parallel, num_processes, devices_per_node)
    layout = _decided(recipe.parallel, None if problems else num_processes)
    return [
        *problems,
        *_tensor_problems(shape, layout),
        *pipeline_problems(recipe, shape),
        *_sequence_problems(recipe, shape, layout),
        *_each(expert_reasons(shape, layout), "parallel.expert", "expert = 1"),
        *_offload_problems(recipe.parallel, layout),
        *_batch_problems(recipe.parallel, None if problems else num_processes),
    ]


def known_shape(recipe: Recipe) -> ModelShape | None:
    """The shape of the recipe's model; None where only training sees what it is made of."""
    try:
        return shape_of(recipe)
    except RecipeError:
        return None


def described_devices(hardware: Hardware) -> int | None:
    """Devices of a machine as far as the recipe tells; None where the machine is asked."""
    if hardware.devices_per_node != "auto":
        return hardware.devices_per_node
    return CPU_PROCESSES if hardware.accelerator == "cpu" else None


def _decided(parallel: Parallel, num_processes: int | None) -> Layout:
    """What the recipe decides; what it leaves open is such that it forbids nothing."""
    degrees: dict[str, Any] = {
        key: 1 if (size := getattr(parallel, key)) == "auto" else size
        for key in ("zero", "tensor", "pipeline", "sequence", "expert")
    }
    data = degrees["expert"]
    if num_processes is not None:
        data = num_processes // prod(degrees[key] for key in _TOGETHER)
    return Layout(**degrees, data=data)


_TOGETHER = ("tensor", "pipeline", "sequence")
"""What processes do that hold one copy of the model among them."""


def _machine_problems(
    parallel: Parallel, num_processes: int, devices_per_node: int
) -> Iterator[Problem]:
    sizes = {key: getattr(parallel, key) for key in _TOGETHER}
    together = {key: size for key, size in sizes.items() if size not in (1, "auto")}
    if num_processes % (size := prod(together.values())):
        product = " × ".join(f"{key} {number}" for key, number in together.items())
        yield Problem(
            key=f"parallel.{next(iter(together))}",
            reason=f"{num_processes} processes cannot be divided into groups of {size} "
            f"({product}).",
            example=f"a number of processes that {size} divides",
        )
    elif reason := why_not_in_node(together.get("tensor", 1), devices_per_node):
        yield Problem(key="parallel.tensor", reason=f"{reason}.", example="tensor = 1")


def _tensor_problems(shape: ModelShape | None, layout: Layout) -> Iterator[Problem]:
    if shape is not None:
        yield from _each(tensor_reasons(shape, layout.tensor), "parallel.tensor", "tensor = 1")


def _sequence_problems(
    recipe: Recipe, shape: ModelShape | None, layout: Layout
) -> Iterator[Problem]:
    sequence, length = layout.sequence, recipe.data.sequence_length
    reasons: list[str] = []
    if shape is not None:
        reasons += row_reasons(shape, length, sequence)
        # Heads are divided by tensor parallelism first.
        if recipe.parallel.tensor != "auto":
            reasons += head_reasons(shape, sequence, layout.tensor)
    elif reason := why_not_even(length, sequence):
        reasons.append(reason)
    yield from _each(reasons, "parallel.sequence", "sequence = 1")


def _offload_problems(parallel: Parallel, layout: Layout) -> Iterator[Problem]:
    keys = ("offload_optimizer", "offload_weights")
    optimizer, weights = (getattr(parallel, key) for key in keys)
    if {optimizer, weights} <= {"none", "auto"}:
        return
    offloaded = layout._replace(
        zero=3 if parallel.zero == "auto" else layout.zero,
        offload_optimizer="cpu" if optimizer == "auto" else optimizer,
        offload_weights="none" if weights == "auto" else weights,
    )
    key = keys[weights not in ("none", "auto")]
    example = 'zero = 3 and offload_optimizer = "cpu"' if key == keys[1] else "zero = 3"
    if layout.pipeline > 1 or layout.expert > 1:
        example = f'{key} = "none"'
    yield from _each(offload_reasons(offloaded), f"parallel.{key}", example)


def _batch_problems(parallel: Parallel, num_processes: int | None) -> Iterator[Problem]:
    """Where there is a global batch, which the other sizes have to make."""
    wanted = parallel.global_batch
    if wanted is None:
        return
    micro_batch, accumulation, *together = (
        None if (size := getattr(parallel, key)) == "auto" else size
        for key in ("micro_batch", "gradient_accumulation", *_TOGETHER)
    )
    replicas = None
    if num_processes is not None and None not in together:
        replicas = num_processes // prod(size for size in together if size)
    step = (micro_batch or 1) * (replicas or 1)
    stages = 1 if parallel.pipeline == "auto" else parallel.pipeline
    if reason := why_not_batch(wanted, micro_batch, accumulation, replicas):
        example = 'gradient_accumulation = "auto"'
        if wanted % step:
            rows = step * (accumulation or 1)
            example = f"global_batch = {-(-wanted // rows) * rows}"
        yield Problem(key="parallel.global_batch", reason=f"{reason}.", example=example)
    elif accumulation is None and replicas and (reason := why_idle(stages, wanted // step)):
        example = f"global_batch = {4 * stages * step}"
        yield Problem(key="parallel.global_batch", reason=f"{reason}.", example=example)


def _each(reasons: Iterable[str], key: str, example: str) -> Iterator[Problem]:
    for reason in reasons:
        yield Problem(key=key, reason=f"{reason}.", example=example)

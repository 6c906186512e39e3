"""Why a run does not go on: each step had other rows before, or its optimizer is not kept."""

from collections.abc import Iterator

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.stages import recipe_part
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import (
    CheckpointMark,
    latest_checkpoint,
    other_global_batch,
    without_optimizer,
)


def require_same_batch(run: RunDirectory, recipe: Recipe, num_processes: int) -> None:
    """Raises Refused where only the number of replicas keeps an unfinished run from going on.

    It follows from the number of processes and from how many of them hold one model. With other
    rows a step the run would begin anew, in a directory of its own.
    """
    for other, mark in _with_other_batches(run, recipe):
        if _replicas(other.recipe(), mark.num_processes) != _replicas(recipe, num_processes):
            path = other.checkpoints / mark.tag
            raise Refused(other_global_batch(path, mark, recipe, num_processes))


def anew_for_other_batches(run: RunDirectory, recipe: Recipe, global_batch: int) -> Iterator[str]:
    """Of each unfinished run that differs in the rows of a step alone, that it is not gone on."""
    for other, mark in _with_other_batches(run, recipe):
        yield (
            f"{other.path.name} stopped after step {mark.step} with {mark.global_batch} rows a "
            f"step. With {global_batch} it is not gone on: {run.path.name} begins anew."
        )


def require_optimizer(run: RunDirectory) -> None:
    """Raises Refused where an unfinished training cannot go on: its checkpoint is weights alone."""
    mark = latest_checkpoint(run.checkpoints)
    if mark and mark.weights_only and "train" not in run.finished_stages():
        raise Refused(without_optimizer(run.checkpoints / mark.tag))


def _with_other_batches(
    run: RunDirectory, recipe: Recipe
) -> Iterator[tuple[RunDirectory, CheckpointMark]]:
    """Unfinished runs of which only the rows of a step are others; none once the run has begun."""
    if run.path.exists() or not run.path.parent.exists():
        return
    for folder in sorted(run.path.parent.glob(f"{recipe.name}-*")):
        other = RunDirectory(folder)
        if not other.recipe_file.exists() or "train" in other.finished_stages():
            continue
        mark = latest_checkpoint(other.checkpoints)
        if mark and _learned(other.recipe()) == _learned(recipe):
            yield other, mark


def _replicas(recipe: Recipe, num_processes: int) -> int:
    return num_processes // recipe.parallel.settled.replica_size


def _learned(recipe: Recipe) -> object:
    """What makes the model, but for the rows of a step."""
    document = to_document(recipe)
    return recipe_part("prepare", document), recipe_part("train", document)

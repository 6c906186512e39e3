"""Why a run does not go on: each step had other rows before, or its optimizer is not kept."""

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.stages import recipe_part
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import (
    latest_checkpoint,
    other_global_batch,
    without_optimizer,
)


def require_same_batch(run: RunDirectory, recipe: Recipe, num_processes: int) -> None:
    """Raises Refused where only the number of processes keeps an unfinished run from going on.

    With other rows a step it would begin anew in silence, in a directory of its own.
    """
    if run.path.exists() or not run.path.parent.exists():
        return
    for folder in sorted(run.path.parent.glob(f"{recipe.name}-*")):
        other = RunDirectory(folder)
        if not other.recipe_file.exists() or "train" in other.finished_stages():
            continue
        mark = latest_checkpoint(other.checkpoints)
        if mark is None or mark.num_processes == num_processes:
            continue
        if _learned(other.recipe()) == _learned(recipe):
            path = other.checkpoints / mark.tag
            raise Refused(other_global_batch(path, mark, recipe, num_processes))


def require_optimizer(run: RunDirectory) -> None:
    """Raises Refused where an unfinished training cannot go on: its checkpoint is weights alone."""
    mark = latest_checkpoint(run.checkpoints)
    if mark and mark.weights_only and "train" not in run.finished_stages():
        raise Refused(without_optimizer(run.checkpoints / mark.tag))


def _learned(recipe: Recipe) -> object:
    """What makes the model, but for the rows of a step."""
    document = to_document(recipe)
    return recipe_part("prepare", document), recipe_part("train", document)

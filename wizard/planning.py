"""The plan of a draft, as the wizard shows it: what fits, what was picked, why not."""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from fsft.recipes.files import check_document
from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.hardware.detect import Machine
from fsft.recipes.inputs import is_local
from fsft.recipes.models.catalogue import matching_names
from fsft.recipes.models.from_config import UnknownArchitecture
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.plan import Plan, make_plan
from fsft.recipes.planner.questions import (
    KINDS,
    always_fixed_by,
    cluster_of,
    fixed_by,
    job_of,
    left_open,
    settle,
    shape_of,
)
from fsft.recipes.planner.search import Candidate, Rejected, Search
from fsft.recipes.planner.smallest import smallest
from fsft.recipes.problems import FsftError, Problem, RecipeError, Refused
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.shipped import resolve_path
from fsft.wizard.facts import found_cluster


@dataclass(frozen=True)
class Planning:
    """The plan, or why there is none."""

    plan: Plan | None = None
    """With the layout as the recipe decides it."""
    open_plan: Plan | None = None
    """With the whole layout left to the planner: what there is to pick from."""
    trouble: str = ""
    """Why there is no plan, in a sentence."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the answers themselves."""

    @property
    def best(self) -> Candidate | None:
        """The layout that would run."""
        return self.plan.best if self.plan else None

    @cached_property
    def closest(self) -> Rejected | None:
        """What is nearest to fitting where nothing does."""
        return smallest(self.plan) if self.plan else None


def planning_of(recipe: Recipe | None, folder: Path, machine: Machine) -> Planning:
    """Plan a recipe; answers that cannot be planned for say why."""
    if recipe is None:
        return Planning(trouble="there is nothing to plan while an answer is missing")
    try:
        cluster = _cluster(recipe, machine)
    except RecipeError as error:
        return _no_plan(error, "hardware.accelerator", are_wrong=True)
    try:
        shape = _shape(recipe, folder)
    except UnknownArchitecture as error:
        return _no_plan(error, "model.path", are_wrong=False)
    except FsftError as error:
        # What cannot be a path is refused, and is no hub id either.
        path = "" if isinstance(error, Refused) else recipe.model.path or ""
        is_hub_id = "/" in path and not is_local(path, folder)
        could_be = matching_names(path) if path and not is_hub_id else []
        if len(could_be) == 1:
            error = RecipeError(Problem(reason=f"`{path}` is no model.", nearest=could_be[0]))
        elif could_be:
            reason = f"`{path}` could be any of {len(could_be)} models of the catalogue."
            error = RecipeError(Problem(reason=reason))
        return _no_plan(error, "model.path", are_wrong=not is_hub_id)
    key = recipe.model_dump_json(include=_READ)
    place = (folder, machine, shape.num_parameters)
    try:
        return _planned(_Asked(key, place, recipe, shape, cluster))
    except FsftError as error:
        return _no_plan(error, "parallel.global_batch", are_wrong=True)


def with_length(plan: Plan, tokens: float | None) -> Plan:
    """The plan with what is known of its length by now."""
    if not tokens:
        return plan
    return replace(plan, job=replace(plan.job, num_tokens=max(1, round(tokens)), num_steps=None))


def _no_plan(error: FsftError, key: str, *, are_wrong: bool) -> Planning:
    problems = tuple(
        problem
        if problem.key.partition(".")[0] in {"hardware", "parallel"}
        else replace(problem, key=key)
        for problem in error.problems
    )
    trouble = problems[0].reason.rstrip(".")
    return Planning(trouble=trouble, problems=problems if are_wrong else ())


_READ: dict[str, Any] = {
    "model": True,
    "data": {"sequence_length", "packing", "tokenizer"},
    "hardware": True,
    "parallel": True,
    "method": True,
    "checkpoint": {"every"},
}
"""What of a recipe the planner reads."""


@dataclass(frozen=True)
class _Asked:
    """Compared by what decides the plan, so that it is not made again."""

    key: str
    """The parts of the recipe that the planner reads."""
    place: tuple[object, ...]
    """What the cluster is made of, as far as it is not in the recipe."""
    recipe: Recipe = field(compare=False)
    shape: ModelShape = field(compare=False)
    cluster: Cluster = field(compare=False)


@lru_cache(maxsize=32)
def _planned(asked: _Asked) -> Planning:
    recipe, cluster = asked.recipe, asked.cluster
    fixed = fixed_by(recipe.parallel)
    plan = make_plan(job_of(recipe, asked.shape, cluster), cluster, fixed)
    always = always_fixed_by(recipe.parallel)
    # What is not decided has the same global batch, so that the layouts can be compared.
    open_plan = plan if fixed == always else make_plan(plan.job, cluster, always)
    return Planning(plan, _possible(recipe, open_plan))


def _possible(recipe: Recipe, plan: Plan) -> Plan:
    """Without the layouts that another part of the recipe rules out."""
    if not recipe.model.compile and recipe.model.attention != "flex_attention":
        return plan
    candidates, rejected = [], list(plan.search.rejected)
    for candidate in plan.search.candidates:
        _, problems = check_document(to_document(settle(left_open(recipe), candidate.layout)))
        if problems:
            rejected.append(Rejected(candidate.layout, problems[0].reason.rstrip(".")))
        else:
            candidates.append(candidate)
    return replace(plan, search=Search(tuple(candidates), tuple(rejected)))


def _cluster(recipe: Recipe, machine: Machine) -> Cluster:
    accelerator = recipe.hardware.accelerator
    kind = accelerator if accelerator in KINDS else "auto"
    return cluster_of(recipe.hardware, found_cluster(kind, machine))


def _shape(recipe: Recipe, folder: Path) -> ModelShape:
    path = recipe.model.path
    if path is None or not is_local(path, folder):
        return shape_of(recipe)
    model = recipe.model.model_copy(update={"path": str(resolve_path(path, folder))})
    return shape_of(recipe.model_copy(update={"model": model}))

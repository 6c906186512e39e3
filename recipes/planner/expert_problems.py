"""Experts that cannot be spread as a recipe says, told before anything is planned."""

from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.legal import why_not_expert
from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe


def expert_problems(
    recipe: Recipe, shape: ModelShape | None, num_processes: int | None
) -> list[Problem]:
    """What forbids parallel.expert; None stands for what is not known, and forbids nothing."""
    parallel = recipe.parallel
    if parallel.expert in (1, "auto"):
        return []
    zero, tensor, pipeline, expert = (
        1 if (value := getattr(parallel, key)) == "auto" else value
        for key in ("zero", "tensor", "pipeline", "expert")
    )
    ranks = expert if num_processes is None else num_processes
    layout = Layout(zero=zero, data=ranks, tensor=tensor, pipeline=pipeline, expert=expert)
    if reason := why_not_expert(shape, layout):
        return [Problem(key="parallel.expert", reason=f"{reason}.", example="expert = 1")]
    return []

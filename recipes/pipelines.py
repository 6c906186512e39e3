"""Why a recipe cannot be trained in a pipeline, as far as it and its model's config tell."""

from collections.abc import Iterator, Mapping
from typing import Any

from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.legal import why_idle, why_no_halves, why_no_stages, why_not_staged
from fsft.recipes.planner.questions import config_of, split_of
from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Parallel, Recipe


def pipeline_problems(recipe: Recipe, shape: ModelShape | None) -> Iterator[Problem]:
    """All that is wrong; nothing where there is no pipeline. Paths of the recipe are absolute.

    `shape`: that of the model; None where it is not known.
    """
    parallel = recipe.parallel
    if parallel.pipeline in (1, "auto"):
        return
    yield from _settings(parallel, int(parallel.pipeline))
    if shape is not None:
        yield from _model(parallel, shape)
    try:
        config = config_of(recipe)
    except RecipeError:
        # What is wrong with the model is told elsewhere; some are known only once they are loaded.
        return
    if balances_experts(config):
        yield Problem(
            key="model.config.output_router_logits",
            reason="the loss that keeps experts equally busy is not computed in a pipeline.",
            example="output_router_logits = false",
        )


def balances_experts(config: Mapping[str, Any]) -> bool:
    """Whether a config asks for the loss that keeps experts equally busy."""
    return bool(config.get("output_router_logits"))


def _settings(parallel: Parallel, stages: int) -> Iterator[Problem]:
    zero = 1 if parallel.zero == "auto" else parallel.zero
    if reason := why_not_staged(Layout(zero=zero, pipeline=stages)):
        yield Problem(key="parallel.zero", reason=f"{reason}.", example="zero = 1")
    accumulation = parallel.gradient_accumulation
    if accumulation != "auto" and (reason := why_idle(stages, accumulation)):
        yield Problem(
            key="parallel.gradient_accumulation",
            reason=f"{reason}.",
            example=f"gradient_accumulation = {4 * stages}",
        )


def _model(parallel: Parallel, shape: ModelShape) -> Iterator[Problem]:
    stages, units = int(parallel.pipeline), parallel.pipeline_units
    if reason := why_no_halves(shape, units):
        example = 'pipeline_units = "layers"'
        yield Problem(key="parallel.pipeline_units", reason=f"{reason}.", example=example)
    elif reason := why_no_stages(shape, split_of(parallel), stages, units):
        yield Problem(key="parallel.pipeline", reason=f"{reason}.", example="pipeline = 1")

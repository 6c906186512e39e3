"""Why a recipe cannot be trained in a pipeline, as far as it and its model's config tell."""

from collections.abc import Iterator, Mapping
from typing import Any

from fsft.recipes.models.from_config import read_shape
from fsft.recipes.models.shape import ModelShape
from fsft.recipes.planner.legal import why_no_halves, why_no_stages
from fsft.recipes.planner.questions import config_of, split_of
from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Parallel, Recipe


def pipeline_problems(recipe: Recipe) -> Iterator[Problem]:
    """All that is wrong; nothing where there is no pipeline. Paths of the recipe are absolute."""
    parallel = recipe.parallel
    if parallel.pipeline in (1, "auto"):
        return
    yield from _settings(parallel)
    try:
        config = config_of(recipe)
        shape = read_shape(config)
    except RecipeError:
        # What is wrong with the model is told elsewhere; some are known only once they are loaded.
        return
    yield from _model(parallel, shape, config)


def balances_experts(config: Mapping[str, Any]) -> bool:
    """Whether a config asks for the loss that keeps experts equally busy."""
    return bool(config.get("output_router_logits"))


def _settings(parallel: Parallel) -> Iterator[Problem]:
    if parallel.zero not in (1, "auto"):
        reason = f"a pipeline runs with ZeRO 1, not {parallel.zero}."
        yield Problem(key="parallel.zero", reason=reason, example="zero = 1")
    accumulation = parallel.gradient_accumulation
    if accumulation != "auto" and parallel.global_batch is None:
        stages = int(parallel.pipeline)
        if accumulation < stages:
            yield Problem(
                key="parallel.gradient_accumulation",
                reason=f"{accumulation} micro batches leave most of {stages} stages idle.",
                example=f"gradient_accumulation = {4 * stages}",
            )


def _model(parallel: Parallel, shape: ModelShape, config: Mapping[str, Any]) -> Iterator[Problem]:
    stages, units = int(parallel.pipeline), parallel.pipeline_units
    if reason := why_no_halves(shape, units):
        example = 'pipeline_units = "layers"'
        yield Problem(key="parallel.pipeline_units", reason=f"{reason}.", example=example)
    elif reason := why_no_stages(shape, split_of(parallel), stages, units):
        yield Problem(key="parallel.pipeline", reason=f"{reason}.", example="pipeline = 1")
    if balances_experts(config):
        yield Problem(
            key="model.config.output_router_logits",
            reason="the loss that keeps experts equally busy is not computed in a pipeline.",
            example="output_router_logits = false",
        )

"""Models that can be planned for, and not trained."""

from collections.abc import Iterator

from fsft.recipes.planner.questions import shape_of
from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Recipe


def untrainable(recipe: Recipe) -> Iterator[Problem]:
    """Why the recipe's model cannot be trained, as its config tells. Paths are absolute."""
    try:
        shape = shape_of(recipe)
    except RecipeError:
        # Not known here; training looks at the model itself.
        return
    if shape.encoder:
        yield Problem(
            key="model",
            reason=f"{shape.architecture} has an encoder beside its decoder, and is not trained.",
            example="a model that only decodes",
        )

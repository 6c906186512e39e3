"""Models that can be planned for, and not trained."""

from collections.abc import Iterator

from fsft.recipes.models.shape import ModelShape
from fsft.recipes.problems import Problem


def untrainable(shape: ModelShape | None) -> Iterator[Problem]:
    """Why a model cannot be trained; None stands for one that training looks at itself."""
    if shape and shape.encoder:
        yield Problem(
            key="model",
            reason=f"{shape.architecture} has an encoder beside its decoder, and is not trained.",
            example="a model that only decodes",
        )

"""What cannot be trained in a pipeline is said before the start, all at once."""

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.layouts import known_shape
from fsft.recipes.pipelines import pipeline_problems
from tests.support import TINY_RECIPE

STAGES = ("parallel.pipeline=2", "parallel.gradient_accumulation=4")
FALCON = 'model.config={ model_type = "falcon", vocab_size = 320 }'


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), []),
        (("parallel.pipeline_split=[1, 1]",), []),
        (('parallel.zero="auto"',), []),
        (("parallel.zero=2",), ["a pipeline runs with ZeRO 1, not 2."]),
        (
            ("parallel.gradient_accumulation=1",),
            ["1 micro batches leave most of 2 stages idle."],
        ),
        (("parallel.pipeline=3",), ["2 layers are fewer than 3 stages."]),
        (
            ("parallel.pipeline_split=[1, 2]",),
            ["pipeline_split names 3 layers, and the model has 2."],
        ),
        (('parallel.pipeline_units="halves"', "parallel.pipeline_split=[1, 3]"), []),
        (
            ('parallel.pipeline_units="halves"', "parallel.pipeline_split=[1, 1]"),
            ["pipeline_split names 2 halves of layers, and the model has 4."],
        ),
        (
            ('parallel.pipeline_units="halves"', 'model.config.model_type="phi"'),
            [
                "attention and feed-forward of phi read the same, and no stage can end between "
                "them.",
            ],
        ),
        ((FALCON,), ["falcon has no pipeline plan."]),
        (
            ("model.config.output_router_logits=true", "parallel.zero=3"),
            [
                "a pipeline runs with ZeRO 1, not 3.",
                "the loss that keeps experts equally busy is not computed in a pipeline.",
            ],
        ),
    ],
)
def test_each_thing_that_a_pipeline_cannot_do_is_named(
    overrides: tuple[str, ...], expected: list[str]
) -> None:
    recipe = parse_recipe(TINY_RECIPE, overrides=[*STAGES, *overrides])
    assert [
        problem.reason for problem in pipeline_problems(recipe, known_shape(recipe))
    ] == expected


def test_without_a_pipeline_nothing_is_wrong() -> None:
    recipe = parse_recipe(TINY_RECIPE, overrides=["parallel.zero=3", FALCON])
    assert list(pipeline_problems(recipe, known_shape(recipe))) == []

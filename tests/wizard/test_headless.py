"""Without a terminal, flags are the answers."""

import pytest

from fsft.recipes.problems import RecipeError
from fsft.wizard.draft import Draft
from fsft.wizard.headless import ESSENTIAL, finished
from fsft.wizard.questions import BY_KEY, QUESTIONS
from tests.support import TINY_RECIPE
from tests.wizard.strategies import NO_GPU, opened, typed

ANSWERED = [
    ("model.path", "gpt2"),
    ("data.train", "library:identity.jsonl"),
    ("hardware.accelerator", "H100"),
]


def refused(draft: Draft, *, accepts_defaults: bool) -> str:
    """What is wrong with a draft."""
    with pytest.raises(RecipeError) as caught:
        finished(draft, NO_GPU, accepts_defaults=accepts_defaults)
    return str(caught.value)


def test_every_missing_answer_is_named_by_its_flag_with_what_yes_would_take() -> None:
    said = refused(Draft(), accepts_defaults=False)
    assert all(BY_KEY[key].flag in said for key in ESSENTIAL)
    assert "--epochs, --tokens, --steps, --days, --money" in said
    assert "--yes would take quickstart" in said


@pytest.mark.parametrize("missing", range(len(ANSWERED)))
def test_only_what_is_missing_is_named(missing: int) -> None:
    answers = [*ANSWERED[:missing], *ANSWERED[missing + 1 :], ("budget.tokens", "1M")]
    (line,) = refused(typed(Draft(), answers), accepts_defaults=False).splitlines()
    assert line.startswith(BY_KEY[ANSWERED[missing][0]].flag)


def test_what_is_answered_makes_a_recipe_and_yes_answers_the_rest() -> None:
    draft = typed(Draft(), [*ANSWERED, ("budget.tokens", "1M")])
    assert finished(draft, NO_GPU, accepts_defaults=False).recipe is not None
    assert finished(Draft(), NO_GPU, accepts_defaults=True).recipe is not None


def test_an_opened_recipe_needs_no_answers() -> None:
    text = TINY_RECIPE.replace("train.jsonl", "library:identity.jsonl")
    assert finished(opened(text), NO_GPU, accepts_defaults=False).text == text


@pytest.mark.parametrize(
    "key",
    [q.key for q in QUESTIONS if q.kind not in {"text", "paths"} and q.key != "money"],
)
def test_a_wrong_answer_is_named_by_its_flag(key: str) -> None:
    said = refused(Draft().answer(key, "[nonsense]"), accepts_defaults=True)
    assert said.startswith(BY_KEY[key].flag)

"""Answers, the way back, and opening a recipe."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.recipes.problems import RecipeError
from fsft.wizard.draft import MOST_STEPS_BACK, Draft, History, open_recipe
from fsft.wizard.questions import LENGTHS, LIMITS
from tests.support import TINY_RECIPE
from tests.wizard.strategies import KEYS, TEXTS


@settings(max_examples=60)
@given(st.lists(st.tuples(KEYS, TEXTS, st.booleans()), max_size=12))
def test_all_undone_is_the_first_draft_and_all_redone_the_last(
    changes: list[tuple[str, str, bool]],
) -> None:
    history = History(Draft())
    for key, text, is_letter in changes:
        history = history.change(history.present.answer(key, text), key if is_letter else "")
    last = history.present
    while history.past:
        history = history.undo()
    assert history.present == Draft()
    while history.future:
        history = history.redo()
    assert history.present == last


def test_there_is_nothing_before_the_first_and_behind_the_last_draft() -> None:
    history = History(Draft())
    assert history.undo() == history.redo() == history


def test_letters_of_one_answer_are_undone_together() -> None:
    history = History(Draft())
    for text in ("a", "ab", "abc"):
        history = history.change(history.present.answer("name", text), "name")
    history = history.change(history.present.answer("seed", "1"), "seed")
    assert history.undo().present.answers == {"name": "abc"}
    assert history.undo().undo().present == Draft()


def test_a_change_after_undoing_leaves_nothing_to_redo() -> None:
    history = History(Draft()).change(Draft().answer("seed", "1")).undo()
    assert not history.change(Draft().answer("seed", "2")).future


def test_the_way_back_is_not_endless() -> None:
    history = History(Draft())
    for number in range(2 * MOST_STEPS_BACK):
        history = history.change(history.present.answer("seed", str(number)))
    assert len(history.past) == MOST_STEPS_BACK


def test_an_empty_answer_takes_the_answer_back() -> None:
    assert Draft().answer("name", "x").answer("name", "  ") == Draft()


@pytest.mark.parametrize("first", LENGTHS)
def test_of_the_five_ways_to_say_how_long_the_last_one_given_counts(first: str) -> None:
    draft = Draft().answer("name", "x").answer(first, "1")
    for key in set(LENGTHS) - set(LIMITS if first in LIMITS else ()):
        assert dict(draft.answer(key, "2").answers) == {"name": "x", key: "2"}
        assert dict(draft.answer(key, "").answers) == {"name": "x"}


def test_days_and_money_stand_beside_each_other_and_beside_nothing_else() -> None:
    both = Draft().answer("days", "1").answer("money", "2")
    assert dict(both.answers) == {"days": "1", "money": "2"}
    assert dict(both.answer("days", "").answers) == {"money": "2"}
    assert dict(both.answer("budget.steps", "3").answers) == {"budget.steps": "3"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such recipe file"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"zero = ", "not valid TOML"),
        (b"schema = 2", "uses schema 2"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        open_recipe(file)
    with pytest.raises(RecipeError, match="is not a recipe file"):
        open_recipe(tmp_path)


def test_a_recipe_with_problems_is_opened_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    text = "\ufeff" + TINY_RECIPE.replace("zero = 1", "zero = 9").replace("\n", "\r\n")
    file.write_bytes(text.encode())
    found = open_recipe(file)
    assert found.text == text
    assert found.document["parallel"] == {"zero": 9}

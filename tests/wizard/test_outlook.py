"""What follows from any answers."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsft.recipes.files import parse_recipe
from fsft.recipes.shipped import find_recipe
from fsft.wizard.draft import Draft
from fsft.wizard.facts import Facts
from fsft.wizard.outlook import look
from fsft.wizard.questions import BY_KEY, STEPS
from tests.support import TINY_RECIPE
from tests.wizard.strategies import (
    CHANGES,
    FACTS,
    NO_GPU,
    ODD_RECIPES,
    ODD_TEXT,
    TWO_H100,
    opened,
    typed,
)

QUICKSTART = find_recipe("quickstart").read_text()
DRAFTS = st.one_of(
    st.just(Draft()),
    st.sampled_from([opened(QUICKSTART), opened(TINY_RECIPE)]),
    st.sampled_from(ODD_RECIPES).map(opened),
)
H100 = [("model.path", "qwen2.5-7b"), ("hardware.accelerator", "H100")]


def assert_recipe_or_problem(draft: Draft, facts: Facts) -> None:
    """The one thing that holds for any answers."""
    outlook = look(draft, facts)
    if outlook.recipe is None:
        assert outlook.all_problems
        assert outlook.first_trouble in STEPS
        assert not outlook.text
        assert all(problem.reason and str(problem) for problem in outlook.all_problems)
    else:
        assert not outlook.all_problems
        assert parse_recipe(outlook.text) == outlook.recipe


@settings(max_examples=400)
@given(DRAFTS, CHANGES, FACTS)
@example(Draft(), [("budget.epochs", "1e308")], TWO_H100)
@example(Draft(), [("hardware.price", "1"), ("money", "1e308")], TWO_H100)
@example(opened(ODD_RECIPES[4]), [("data.train", "x")], NO_GPU)
@example(opened(ODD_RECIPES[2]), [("model.path", "quickstart")], NO_GPU)
def test_any_answers_make_a_recipe_or_a_named_problem(
    draft: Draft, changes: list[tuple[str, str]], facts: Facts
) -> None:
    assert_recipe_or_problem(typed(draft, changes), facts)


@pytest.mark.parametrize("key", BY_KEY)
def test_any_single_answer_makes_a_recipe_or_a_named_problem(key: str) -> None:
    for text in (*ODD_TEXT, *BY_KEY[key].choices):
        assert_recipe_or_problem(typed(Draft(), [*H100, (key, text)]), TWO_H100)


@pytest.mark.parametrize("key", ["model.path", "data.train", "data.eval", "data.template"])
def test_what_cannot_be_a_path_is_a_problem_of_its_question(key: str) -> None:
    draft = typed(Draft(), [*H100, (key, "~nobody-at-all/x.jinja")])
    assert list(look(draft, NO_GPU).problems) == [key]


@pytest.mark.parametrize(
    ("typed_so_far", "said"),
    [("qwen2.5-0.5", "Did you mean `Qwen/Qwen2.5-0.5B`?"), ("qwen2.5", "could be any of")],
)
def test_part_of_a_name_is_told_what_it_could_become(typed_so_far: str, said: str) -> None:
    (problem,) = look(Draft().answer("model.path", typed_so_far), NO_GPU).problems["model.path"]
    assert said in str(problem)


def test_a_missing_file_is_a_problem_of_its_question() -> None:
    outlook = look(Draft().answer("data.train", "none.jsonl"), NO_GPU)
    assert outlook.first_trouble == "data"
    assert [p.reason for p in outlook.problems_in("data")] == ["there is no such file."]


def test_an_answer_that_no_longer_fits_stays_and_the_outlook_says_so() -> None:
    draft = typed(Draft(), [*H100, ("parallel.micro_batch", "8"), ("hardware.host_memory", "64GB")])
    assert look(draft, NO_GPU).planning.best is not None
    smaller = typed(
        draft, [("hardware.accelerator", "A100-40GB-PCIe"), ("hardware.devices_per_node", "1")]
    )
    outlook = look(smaller, NO_GPU)
    answer = outlook.answers["parallel.micro_batch"]
    assert (answer.text, answer.value, answer.origin) == ("8", 8, "you")
    assert outlook.planning.best is None
    assert outlook.planning.plan is not None
    rejected = outlook.planning.plan.search.rejected
    assert rejected
    assert all("needs" in one.reason for one in rejected)
    assert {one.layout.micro_batch for one in rejected} == {8}
    assert outlook.recipe is not None


def test_a_picked_layout_that_does_not_go_with_the_rest_is_doubted_not_changed() -> None:
    wide = [("parallel.zero", "2"), ("parallel.micro_batch", "64"), ("parallel.tensor", "1")]
    draft = typed(Draft(), [*H100, *wide])
    outlook = look(draft, NO_GPU)
    assert outlook.planning.best is None
    # What auto would take too is not in the way.
    assert outlook.doubts.keys() == {"parallel.zero", "parallel.micro_batch"}
    assert all("auto would take ZeRO" in doubt for doubt in outlook.doubts.values())
    assert outlook.answers["parallel.zero"].value == 2
    assert look(draft.answer("parallel.micro_batch", "auto"), NO_GPU).doubts == {}


def test_the_global_batch_follows_the_number_of_devices() -> None:
    draft = typed(Draft(), [*H100, ("hardware.devices_per_node", "3"), ("hardware.nodes", "7")])
    recipe = look(draft, NO_GPU).recipe
    assert recipe is not None
    assert recipe.parallel.global_batch is not None
    assert recipe.parallel.global_batch % 21 == 0


def test_a_data_file_of_the_opened_recipe_keeps_its_other_keys(tmp_path: Path) -> None:
    text = QUICKSTART.replace(
        'path = "library:identity.jsonl"',
        'path = "library:identity.jsonl"\nformat = "messages"\nmax_samples = 5',
    )
    draft = opened(text).answer("data.train", "library:about_fsft.jsonl, library:identity.jsonl")
    recipe = look(draft, NO_GPU).recipe
    assert recipe is not None
    assert [(s.path, s.format, s.max_samples) for s in recipe.data.train] == [
        ("library:about_fsft.jsonl", "auto", None),
        ("library:identity.jsonl", "messages", 5),
    ]


def test_a_recipe_of_a_model_made_from_nothing_becomes_one_of_a_trained_model_and_back() -> None:
    draft = opened(QUICKSTART).answer("model.path", "gpt2")
    recipe = look(draft, NO_GPU).recipe
    assert recipe is not None
    assert (recipe.model.path, recipe.model.init) == ("openai-community/gpt2", "pretrained")
    assert recipe.model.config is recipe.data.tokenizer is None
    text = look(draft, NO_GPU).text
    again = look(opened(text).answer("model.path", "quickstart"), NO_GPU)
    assert again.recipe is not None
    assert again.recipe.model.config == look(opened(QUICKSTART), NO_GPU).recipe.model.config

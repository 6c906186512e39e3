"""Days and money become tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.recipes.files import parse_recipe
from fsft.recipes.planner.ranges import time_range
from fsft.recipes.schema import Budget
from fsft.wizard.budget import length_of
from fsft.wizard.draft import Draft
from fsft.wizard.facts import DataFacts
from fsft.wizard.outlook import look
from fsft.wizard.planning import Planning
from tests.wizard.strategies import NO_GPU, ODD_GPU, opened, typed

BASE = typed(
    Draft(),
    [("model.path", "qwen2.5-7b"), ("hardware.accelerator", "H100"), ("hardware.nodes", "2")],
)
ALONE = typed(
    BASE,
    [("hardware.devices_per_node", "1"), ("hardware.nodes", "1"), ("hardware.host_memory", "64GB")],
)
PRICED = BASE.answer("hardware.price", "2.5")


@settings(max_examples=40)
@given(st.floats(0.01, 1000))
def test_the_written_recipe_takes_no_longer_than_the_days_that_were_asked(days: float) -> None:
    outlook = look(BASE.answer("days", f"{days:.6f}"), NO_GPU)
    assert outlook.recipe is not None
    budget = parse_recipe(outlook.text).budget
    assert budget.tokens is not None
    assert budget.epochs is budget.steps is None
    assert outlook.length.days is not None
    step = outlook.length.days / max(1.0, outlook.length.steps or 1.0)
    # A run ends with a whole step.
    assert outlook.length.days <= days + step + 1e-6


@settings(max_examples=40)
@given(st.floats(50, 1e6))
def test_the_written_recipe_costs_no_more_than_the_money_that_was_given(money: float) -> None:
    outlook = look(PRICED.answer("money", f"{money:.2f}"), NO_GPU)
    assert outlook.recipe is not None
    assert outlook.length.money is not None
    step = outlook.length.money / max(1.0, outlook.length.steps or 1.0)
    assert outlook.length.money <= money + step + 0.01


def test_of_days_and_money_the_tighter_one_counts() -> None:
    def tokens(**limits: str) -> int | None:
        recipe = look(typed(PRICED, list(limits.items())), NO_GPU).recipe
        assert recipe
        return recipe.budget.tokens

    assert tokens(days="1", money="1e6") == tokens(days="1") != tokens(money="1e6")
    assert tokens(days="90", money="500") == tokens(money="500") != tokens(days="90")


def test_a_limit_that_cannot_be_used_is_told_beside_one_that_can() -> None:
    outlook = look(typed(BASE, [("days", "1"), ("money", "500")]), NO_GPU)
    assert list(outlook.problems) == ["money"]
    assert outlook.recipe is None


def test_a_limit_is_the_upper_end_of_what_is_expected() -> None:
    outlook = look(BASE.answer("days", "3"), NO_GPU)
    assert outlook.length.days is not None
    assert outlook.planning.plan is not None
    family = outlook.planning.plan.job.style.family
    assert 2.9 < time_range(outlook.length.days, family).high <= 3


@pytest.mark.parametrize(
    ("draft", "key", "said"),
    [
        (BASE.answer("money", "500"), "money", "price"),
        (Draft().answer("days", "2"), "days", "is not known"),
        (typed(Draft(), [("hardware.price", "1"), ("money", "9")]), "money", "is not known"),
        (BASE.answer("model.path", "nobody/x").answer("days", "1"), "days", "catalogue"),
        (ALONE.answer("days", "1"), "days", "nothing fits"),
        (BASE.answer("days", "1e-9"), "days", "too little"),
        (BASE.answer("days", "1e300"), "days", "more than"),
    ],
)
def test_what_is_not_known_is_the_only_problem_and_at_its_question(
    draft: Draft, key: str, said: str
) -> None:
    outlook = look(draft, ODD_GPU)
    assert outlook.recipe is None
    (problem,) = outlook.all_problems
    assert problem.key == key
    assert said in problem.reason


def test_days_for_an_opened_recipe_take_the_place_of_its_epochs() -> None:
    text = look(BASE.answer("budget.epochs", "3"), NO_GPU).text
    outlook = look(opened(text).answer("days", "1"), NO_GPU)
    assert outlook.recipe is not None
    assert outlook.recipe.budget.epochs is None
    assert (
        outlook.recipe.budget.tokens == look(BASE.answer("days", "1"), NO_GPU).recipe.budget.tokens
    )


def test_each_measure_follows_from_the_others() -> None:
    planning = look(PRICED, NO_GPU).planning
    data = DataFacts(num_tokens=1e6)
    by_epochs = length_of(Budget(epochs=3), planning, data)
    assert by_epochs.tokens == 3e6
    assert length_of(Budget(tokens=3_000_000), planning, data) == by_epochs
    assert by_epochs.steps is not None
    by_steps = length_of(Budget(steps=round(by_epochs.steps)), planning, data)
    assert by_steps.tokens == pytest.approx(3e6, rel=0.1)
    assert by_epochs.days is not None
    assert by_epochs.money is not None


def test_what_cannot_be_worked_out_is_not_told() -> None:
    assert length_of(None, Planning(), None).tokens is None
    unknown = length_of(Budget(epochs=3), Planning(), DataFacts(trouble="unreadable"))
    assert (unknown.epochs, unknown.tokens, unknown.days) == (3, None, None)
    planning = look(BASE, NO_GPU).planning
    endless = length_of(Budget(epochs=1e308), planning, DataFacts(num_tokens=1e6))
    assert (endless.epochs, endless.tokens, endless.days) == (1e308, None, None)
    assert length_of(Budget(steps=2**62), planning, None).steps == 2**62

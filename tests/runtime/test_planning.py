"""What is settled before a run starts, on devices that are not here."""

import pytest

from fsft.recipes.planner.questions import left_open
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.runtime import hardware
from fsft.runtime.planning import planned
from fsft.wizard.outlook import look
from tests.wizard.strategies import NO_GPU
from tests.wizard.test_planning import ON_A_CARD, SEVENTY, picked


@pytest.fixture(autouse=True)
def _eight_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_found", lambda: ("cuda", 8))
    monkeypatch.setattr("fsft.runtime.planning.detected_cluster", lambda *_: None)


def recipe_of(draft: object) -> Recipe:
    recipe = look(draft, NO_GPU).recipe  # type: ignore[arg-type]
    assert recipe is not None
    return recipe


def test_what_the_wizard_leaves_to_the_planner_is_what_it_showed() -> None:
    left, taken = (planned(recipe_of(draft)) for draft in (SEVENTY, picked(SEVENTY, 0)[0]))
    assert left.trouble is None
    assert left.recipe == taken.recipe
    best = look(SEVENTY, NO_GPU).planning.best
    assert best is not None
    parallel = left.recipe.parallel
    assert (parallel.tensor, parallel.pipeline) == (best.layout.tensor, best.layout.pipeline)
    assert not parallel.open_keys


def test_programs_for_offloading_are_needed_where_something_is_offloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert planned(recipe_of(SEVENTY)).trouble is None
    alone = left_open(recipe_of(ON_A_CARD))
    with pytest.raises(Refused, match="no-such-compiler"):
        planned(alone)

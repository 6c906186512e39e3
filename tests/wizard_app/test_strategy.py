"""The strategy step: rows to pick from, keys to pin."""

from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.hardware.detect import Device, Machine
from fsft.wizard.draft import Draft
from fsft.wizard.questions import APART, LAYOUT_KEYS
from fsft.wizard.widgets.lines import Rows
from tests.wizard.strategies import typed
from tests.wizard_app.support import Person, use, wizard

SEVENTY = typed(
    Draft(),
    [
        ("model.path", "llama-2-70b"),
        ("hardware.accelerator", "A100-80GB"),
        ("hardware.nodes", "8"),
        ("budget.tokens", "0.5B"),
        ("out", "big.toml"),
    ],
)
CARD = Machine((Device("NVIDIA GeForce RTX 4090", 24e9),), 16, 128e9, 1e12)


def asked(person: Person) -> set[str]:
    """The questions apart that can be seen."""
    return {key for key in APART if person.field(key).display}


def test_a_row_is_picked_written_and_given_back(folder: Path) -> None:
    async def pick(person: Person) -> None:
        await person.press("alt+6")
        rows = person.app.screen.query_one("#layouts", Rows)
        assert rows.lines[0].plain.startswith("● auto")
        rows.focus()
        await person.press("down", "down", "enter")
        assert [line.plain[0] for line in rows.lines[:4]] == [" ", " ", "●", " "]
        assert person.app.draft.answers.keys() >= set(LAYOUT_KEYS)
        await person.press("ctrl+s", "escape")

    app = use(pick, wizard(SEVENTY), size=(120, 40))
    best = app.outlook.planning.best
    assert best is not None
    parallel = parse_recipe((folder / "big.toml").read_text()).parallel
    layout = best.layout
    wanted = (layout.zero, layout.tensor, layout.pipeline, layout.micro_batch)
    assert (parallel.zero, parallel.tensor, parallel.pipeline, parallel.micro_batch) == wanted

    async def give_back(person: Person) -> None:
        await person.press("alt+6")
        rows = person.app.screen.query_one("#layouts", Rows)
        rows.focus()
        await person.press("home", "enter")
        assert rows.lines[0].plain.startswith("● auto")
        assert person.app.draft.answers == SEVENTY.answers

    use(give_back, wizard(app.draft))


def test_a_key_is_pinned_by_hand() -> None:
    async def pin(person: Person) -> None:
        await person.press("alt+6")
        assert "Pipeline" not in person.screen()
        await person.answer("parallel.pipeline", "2")
        await person.settle()
        assert "Pipeline" in person.screen()
        assert "PP 2" in person.screen()
        await person.answer("parallel.pipeline", "x")
        assert "✗ to answer: Strategy, Pipeline" in person.screen()
        await person.press("alt+1", "ctrl+s")
        assert person.focused == "parallel.pipeline"

    use(pin, wizard(SEVENTY), size=(120, 40))


def test_with_one_card_nobody_is_asked_how_to_divide_the_model() -> None:
    offloading = {key for key in APART if "offload" in key}

    async def look(person: Person) -> None:
        await person.press("alt+6")
        assert asked(person) == offloading
        await person.answer("parallel.tensor", "2")
        assert asked(person) == {*offloading, "parallel.tensor"}

    use(look, wizard(Draft().answer("model.path", "qwen2.5-7b"), machine=CARD))


def test_experts_are_asked_about_where_there_are_some() -> None:
    async def look(person: Person) -> None:
        await person.press("alt+6")
        assert set(APART) - asked(person) == {"parallel.expert"}
        await person.press("alt+1")
        await person.answer("model.path", "mixtral-8x7b")
        await person.press("alt+6")
        assert asked(person) == set(APART)

    use(look, wizard(SEVENTY))


def test_the_best_checkpoint_is_asked_about_where_there_is_eval_data() -> None:
    async def look(person: Person) -> None:
        await person.press("alt+7")
        assert not person.field("checkpoint.keep_best").display
        await person.press("alt+2")
        await person.answer("data.eval", "library:about_fsft.jsonl")
        await person.press("alt+7")
        assert person.field("checkpoint.keep_best").display

    use(look)


def test_what_would_fit_is_told_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsft.wizard.app.REMEDY_SECONDS", 1.0)
    small = Machine(CARD.devices, 16, 64e9, 1e12)

    async def wait(person: Person) -> None:
        assert "looking for what would help" in person.screen()
        await person.settle(2.5)
        assert "would fit: 2 nodes instead of 1" in person.screen()

    use(wait, wizard(Draft().answer("model.path", "qwen2.5-7b"), machine=small))

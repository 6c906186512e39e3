"""The eight steps: on, back, anywhere, and nothing is lost on the way."""

import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import TabbedContent, TabPane

from fsft.recipes.files import parse_recipe
from fsft.recipes.schema import Recipe
from fsft.wizard.facts import DataFacts
from fsft.wizard.questions import STEPS, Step, questions_of
from fsft.wizard.widgets.field import Field
from tests.wizard_app.support import FOUND, Person, use, wizard

ONE_OF_EACH: dict[Step, tuple[str, str]] = {
    "model": ("model.path", "Qwen/Qwen2.5-0.5B"),
    "data": ("data.sequence_length", "512"),
    "hardware": ("hardware.devices_per_node", "4"),
    "budget": ("budget.steps", "77"),
    "method": ("optimizer.warmup", "0.1"),
    "strategy": ("parallel.global_batch", "64"),
    "serve": ("serve.port", "8123"),
    "review": ("seed", "7"),
}
HEAVY = {"torch", "transformers", "deepspeed", "fsft.runtime"}


def test_eight_presses_of_enter_write_a_recipe_that_runs(folder: Path) -> None:
    async def accept(person: Person) -> None:
        await person.press(*["enter"] * 8)
        assert "✓ Wrote quickstart.toml" in person.screen()
        assert "fsft run quickstart.toml" in person.screen()
        await person.press("enter")

    result = use(accept).return_value
    assert result is not None
    assert (result.path, result.run) == (Path("quickstart.toml"), False)
    recipe = parse_recipe((folder / "quickstart.toml").read_text())
    assert recipe.name == "quickstart"


def test_keys_that_are_pressed_ahead_are_not_lost(folder: Path) -> None:
    async def hurry(person: Person) -> None:
        await person.send("\r" * 8)
        assert "✓ Wrote quickstart.toml" in person.screen()

    use(hurry)
    assert [path.name for path in folder.iterdir()] == ["quickstart.toml"]


@pytest.mark.slow
def test_enter_goes_on_and_escape_goes_back() -> None:
    async def walk(person: Person) -> None:
        for step in STEPS:
            assert person.step == step
            assert person.focused == questions_of(step)[0].key
            if step != STEPS[-1]:
                await person.press("enter")
        for step in reversed(STEPS):
            assert person.step == step
            assert person.focused == questions_of(step)[0].key
            await person.press("escape")
        assert person.step == STEPS[0]

    use(walk)


def test_alt_and_a_digit_go_to_any_step_and_type_nothing() -> None:
    async def jump(person: Person) -> None:
        for number in (3, 8, 1, 6, 2, 5, 4, 7):
            await person.send(f"\x1b{number}")
            assert person.step == STEPS[number - 1]
        assert not person.app.draft.answers

    use(jump)


def test_the_sidebar_goes_to_a_step_by_mouse_and_by_keys() -> None:
    async def choose(person: Person) -> None:
        await person.pilot.click("#sidebar", offset=(4, 4))
        await person.settle()
        assert person.step == "method"
        await person.press("shift+tab")
        assert person.focused == "sidebar"
        await person.press("down", "down", "enter")
        assert person.step == "serve"
        assert person.mark(5) == "✓"

    use(choose)


def test_the_label_of_the_question_that_has_the_focus_stands_out() -> None:
    async def walk(person: Person) -> None:
        for keys, question in (
            (["enter"], "data.train"),
            (["enter"], "hardware.accelerator"),
            (["tab", "tab"], "hardware.nodes"),
            (["escape"], "data.train"),
        ):
            await person.press(*keys)
            fields = person.app.screen.query(Field)
            bold = [f for f in fields if f.query_one(".label").styles.text_style.bold]
            assert bold == [person.field(question)]

    use(walk)


def test_answers_stay_when_their_step_is_left() -> None:
    async def come_and_go(person: Person) -> None:
        for number, (step, (key, text)) in enumerate(ONE_OF_EACH.items(), start=1):
            assert person.step == step
            await person.answer(key, text)
            assert person.mark(number) == "✓"
            if number < len(STEPS):
                await person.press("enter")
        for step, (key, text) in reversed(ONE_OF_EACH.items()):
            assert person.step == step
            assert person.shown(key) == text
            await person.press("escape")
        assert person.app.draft.answers == dict(ONE_OF_EACH.values())

    use(come_and_go)


def test_a_wrong_answer_is_told_beside_its_field_and_keeps_the_recipe_from_being_written(
    folder: Path,
) -> None:
    async def err(person: Person) -> None:
        await person.press("alt+5")
        await person.answer("optimizer.learning_rate", "fast")
        assert "fast" in person.problem("optimizer.learning_rate")
        assert "For example: learning_rate = 2e-05" in " ".join(
            person.problem("optimizer.learning_rate").split()
        )
        assert person.mark(5) == "✗"
        assert "✗ to answer: Method, Learning rate" in person.screen()

        await person.press("alt+1", "ctrl+s")
        assert "Not yet" in person.told
        assert person.step == "method"
        assert person.focused == "optimizer.learning_rate"
        assert not list(folder.iterdir())

        await person.answer("optimizer.learning_rate", "2e-5")
        assert not person.problem("optimizer.learning_rate")
        assert person.mark(5) == "✓"
        await person.press("ctrl+s")
        assert "✓ Wrote" in person.screen()

    use(err)


def test_a_missing_file_is_told_once_where_it_was_typed() -> None:
    async def in_vain(_recipe: Recipe, _folder: Path) -> DataFacts:
        return DataFacts(trouble="looked in vain")

    async def miss(person: Person) -> None:
        await person.settle(0.5)
        await person.press("alt+2")
        assert "looked in vain" in person.screen()
        await person.answer("data.train", "none.jsonl")
        await person.settle(0.5)
        assert "there is no such file" in " ".join(person.problem("data.train").split())
        assert "looked in vain" not in person.screen()

    use(miss, wizard(measure=in_vain))


@pytest.mark.slow
def test_the_last_step_lists_what_is_wrong_instead_of_the_recipe() -> None:
    async def err(person: Person) -> None:
        await person.press("alt+7")
        await person.answer("serve.port", "0")
        await person.press("alt+8")
        assert "Not yet:" in person.screen()
        assert "✗ Ask & serve:" in person.screen()
        await person.press("enter")
        assert person.step == "serve"

    use(err)


def test_what_is_typed_survives_any_size_of_the_terminal() -> None:
    key = "budget.tokens"

    async def resize(person: Person) -> None:
        await person.press("alt+4")
        await person.answer(key, "12")
        for size in [(60, 15), (120, 40), (20, 5), (3, 2), (80, 24)]:
            await person.pilot.resize_terminal(*size)
            await person.press("3")
        assert person.shown(key) == "1233333"
        assert person.app.draft.answers == {key: "1233333"}
        assert person.focused == key

    use(resize, size=(120, 40))


def test_a_terminal_that_is_too_small_says_so_and_works(folder: Path) -> None:
    async def squeeze(person: Person) -> None:
        assert "60×15; 80×24 shows more" in person.screen()
        await person.pilot.resize_terminal(80, 24)
        await person.settle()
        assert "shows more" not in person.screen()
        await person.pilot.resize_terminal(60, 15)
        await person.press(*["enter"] * 8)
        assert "fsft run quickstart.toml" in person.screen()

    use(squeeze, size=(60, 15))
    assert (folder / "quickstart.toml").exists()


@pytest.mark.slow
def test_every_step_keeps_the_field_with_the_focus_in_sight_in_a_small_terminal() -> None:
    async def squeeze(person: Person) -> None:
        for step in STEPS:
            for question in questions_of(step):
                field = person.field(question.key)
                for pane in field.ancestors:
                    if isinstance(pane, TabPane):
                        person.app.query_one("#tables", TabbedContent).active = pane.id or ""
                await person.settle()
                if field.display:
                    field.focus_control()
                    await person.settle()
                    assert question.label in person.screen(), question.key
            await person.press("enter")

    use(squeeze, size=(60, 15))


def test_going_through_all_steps_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\n"
        "from tests.wizard_app.support import *\n"
        "async def walk(person):\n"
        "    await person.press(*['enter'] * 9)\n"
        "use(walk)\n"
        f"print(*({HEAVY!r} & sys.modules.keys()))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(root), "XDG_STATE_HOME": str(folder.parent / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
    assert (folder / "quickstart.toml").exists()


def test_the_data_is_looked_at_again_only_when_its_answers_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fsft.wizard.app.MEASURE_SECONDS", 0.05)
    looks = 0

    async def count(_recipe: Recipe, _folder: Path) -> DataFacts:
        nonlocal looks
        looks += 1
        return FOUND

    async def change(person: Person) -> None:
        await person.settle(0.2)
        await person.press("alt+5")
        await person.answer("optimizer.warmup", "0.2")
        await person.settle(0.2)
        assert looks == 1
        await person.press("alt+2")
        await person.answer("data.sequence_length", "96")
        await person.settle(0.2)
        assert looks == 2

    use(change, wizard(measure=count))

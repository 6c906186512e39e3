"""Lists and choices: what is picked, and how one gets out of them."""

import pytest
from textual.content import Content
from textual.widgets import TabbedContent

from fsft.wizard.widgets.lines import POINTER, Lines
from fsft.wizard.widgets.lookup import Lookup
from tests.wizard_app.support import Person, use


def test_typing_narrows_the_catalogue_and_enter_picks_from_it() -> None:
    async def search(person: Person) -> None:
        models = person.app.query_one("#lookup-model-path", Lookup)
        everything = len(models.lines)
        await person.hurry(*"qwen2.5 7b")
        names = [line.plain for line in models.lines]
        assert 0 < len(names) < everything
        assert all("Qwen2.5" in name and "7B" in name for name in names)
        assert names[0].endswith("Qwen/Qwen2.5-7B")
        before = person.app.outlook.planning.best

        await person.press("down")
        assert person.focused == "lookup-model-path"
        await person.press("enter")
        assert person.focused == "model.path"
        assert person.shown("model.path") == "Qwen/Qwen2.5-7B"
        assert person.app.draft.answers["model.path"] == "Qwen/Qwen2.5-7B"
        assert "7.62B parameters" in person.screen()
        best = person.app.outlook.planning.best
        assert best
        assert best != before

        await person.press("ctrl+z")
        assert person.shown("model.path") == "qwen2.5 7b"

    use(search)


@pytest.mark.slow
def test_a_search_that_finds_nothing_shows_everything_and_says_what_is_wrong() -> None:
    async def search(person: Person) -> None:
        await person.hurry(*"zzz")
        models = person.app.query_one("#lookup-model-path", Lookup)
        assert len(models.lines) > 100
        assert "zzz" in person.problem("model.path")

    use(search)


def test_a_click_picks_a_device() -> None:
    async def choose(person: Person) -> None:
        await person.press("alt+3")
        await person.hurry(*"h200")
        await person.pilot.click("#lookup-hardware-accelerator", offset=(10, 0))
        await person.settle()
        assert person.shown("hardware.accelerator") == "H200-141GB-SXM"
        assert "H200" in person.screen()

    use(choose)


def test_a_picked_layout_answers_its_questions_and_undo_takes_all_back_at_once() -> None:
    async def pick(person: Person) -> None:
        await person.press("alt+6")
        person.app.query_one("#layouts").focus()
        await person.press("down", "enter")
        best = person.app.outlook.planning.best
        assert best
        layout = best.layout
        assert person.app.draft.answers == {
            "parallel.zero": str(layout.zero),
            "parallel.micro_batch": str(layout.micro_batch),
            "parallel.tensor": str(layout.tensor),
            "parallel.pipeline": str(layout.pipeline),
            "parallel.sequence": str(layout.sequence),
            "parallel.expert": str(layout.expert),
            "parallel.offload_optimizer": layout.offload_optimizer,
            "parallel.offload_weights": layout.offload_weights,
            "parallel.activation_checkpointing": layout.checkpointing,
        }
        assert person.shown("parallel.zero") == str(layout.zero)
        assert person.shown("parallel.micro_batch") == str(layout.micro_batch)
        assert person.shown("parallel.activation_checkpointing") == layout.checkpointing
        await person.press("ctrl+z")
        assert not person.app.draft.answers
        assert person.shown("parallel.micro_batch") == "auto"

    use(pick)


@pytest.mark.slow
def test_every_table_of_the_strategy_shows_something() -> None:
    async def look(person: Person) -> None:
        await person.press("alt+6")
        tables = person.app.query_one("#tables", TabbedContent)
        for tab, words in {
            "tab-modules": "layers",
            "tab-zero": "ZeRO alone, per device",
            "tab-rejected": "4 key-value heads cannot be divided by TP 8",
            "tab-layouts": "checkpointing",
        }.items():
            tables.active = tab
            await person.settle()
            assert words in person.screen(), tab

    use(look, size=(140, 50))


def test_left_right_space_and_a_click_take_values_of_a_choice() -> None:
    async def choose(person: Person) -> None:
        await person.press("alt+6")
        person.field("parallel.zero").focus_control()
        await person.press("left")
        assert person.shown("parallel.zero") == "3"
        await person.press("right", "right")
        assert person.shown("parallel.zero") == "0"
        await person.press("space")
        assert person.shown("parallel.zero") == "1"
        assert "○ 0  ● 1  ○ 2" in person.screen()
        await person.pilot.click("#field-parallel-zero Choice", offset=(11, 0))
        await person.settle()
        assert person.shown("parallel.zero") == "2"
        await person.press("enter")
        assert person.step == "serve"

    use(choose)


def test_the_arrow_keys_lead_through_a_whole_step_and_out_of_its_lists() -> None:
    async def walk(person: Person) -> None:
        await person.press("alt+8")
        seen = [person.focused]
        for _ in range(5):
            await person.press("down")
            seen.append(person.focused)
        assert seen[:4] == ["name", "description", "seed", "out"]
        recipe = person.app.query_one("#recipe-text", Lines)
        recipe.focus()
        await person.press("down", "down")
        assert recipe.top == 2
        await person.press("end")
        assert recipe.top == len(recipe.lines) - recipe.size.height
        await person.press("down")
        assert person.focused != "recipe-text"
        recipe.focus()
        await person.press("home", "up")
        assert person.focused != "recipe-text"

    use(walk)


def test_the_pointer_is_a_sign_and_up_and_down_leave_at_the_ends() -> None:
    async def walk(person: Person) -> None:
        await person.hurry(*"qwen2.5-1.5b", "down")
        models = person.app.query_one("#lookup-model-path", Lookup)
        assert len(models.lines) > 1
        for index in range(len(models.lines)):
            assert models.cursor == index
            assert f"{POINTER} " in models.render().plain.splitlines()[index - models.top]
            await person.press("down")
        assert person.focused == "model.init"
        models.focus()
        await person.press("home", "up")
        assert person.focused == "model.path"

    use(walk)


def test_lines_that_change_alone_are_seen_wherever_one_has_scrolled() -> None:
    async def change(person: Person) -> None:
        await person.press("alt+8")
        recipe = person.app.query_one("#recipe-text", Lines)
        names = [f"line {number}" for number in range(50)]
        recipe.show([*map(Content, names)])
        for top, index in ((0, 2), (20, 23), (20, 1)):
            recipe.top = top
            await person.settle()
            names[index] = f"new at {index}"
            recipe.show([*map(Content, names)])
            await person.settle()
            seen = [name for name in names if f"{name} " in person.screen()]
            assert seen == names[top : top + recipe.size.height]
        recipe.top = 0
        await person.settle()
        assert "new at 1 " in person.screen()

    use(change)

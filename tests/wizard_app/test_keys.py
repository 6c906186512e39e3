"""Typing, undoing, leaving: what keys do everywhere."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import RenderableType
from textual.screen import Screen
from textual.widgets import Input

from fsft.wizard import autosave
from fsft.wizard.draft import Draft
from fsft.wizard.result import Result
from fsft.wizard.widgets.plan_pane import PlanPane
from tests.wizard_app.support import Person, use, wizard


def test_a_field_shows_all_that_is_typed_however_fast() -> None:
    async def hurry(person: Person) -> None:
        await person.hurry(*"qwen2.5-72b")
        assert person.shown("model.path") == "qwen2.5-72b"
        await person.hurry(*["backspace"] * 3)
        await person.hurry(*"0.5b")
        assert person.shown("model.path") == "qwen2.5-0.5b"
        assert person.app.draft.answers == {"model.path": "qwen2.5-0.5b"}

    use(hurry)


def test_what_is_typed_as_soon_as_there_is_something_to_see_stands_alone() -> None:
    app = wizard()

    async def type_at_once() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            person = Person(app, pilot)
            await person.hurry(*"llama-2-7b")
            assert person.shown("model.path") == "llama-2-7b"
            assert app.draft.answers == {"model.path": "llama-2-7b"}

    asyncio.run(type_at_once())


@pytest.mark.parametrize("turns", range(7))
def test_what_becomes_known_while_letters_are_on_their_way_does_not_undo_them(turns: int) -> None:
    async def learn_meanwhile(person: Person) -> None:
        for letter in "llama":
            person.strike(letter)
            for _ in range(turns):
                await asyncio.sleep(0)
            person.app.facts = replace(person.app.facts, existing=frozenset(letter))
        await person.settle()
        assert person.shown("model.path") == "llama"
        assert person.app.draft.answers == {"model.path": "llama"}

    use(learn_meanwhile)


def test_a_default_that_changes_under_the_cursor_still_gives_way_to_what_is_typed() -> None:
    async def learn(person: Person) -> None:
        await person.press("alt+8", "tab", "tab", "tab")
        assert (person.focused, person.shown("out")) == ("out", "quickstart.toml")
        person.app.facts = replace(person.app.facts, existing=frozenset({"quickstart.toml"}))
        await person.settle()
        assert person.shown("out") == "quickstart-2.toml"
        await person.hurry(*"mine.toml")
        assert person.shown("out") == "mine.toml"

    use(learn)


def test_a_letter_is_painted_once_and_with_what_follows_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def type_one(person: Person) -> None:
        await person.settle(0.5)
        await person.press("alt+4")
        person.field("budget.tokens").focus_control()
        person.field("budget.tokens").query_one(Input).cursor_blink = False
        await person.settle()
        plan = person.app.query_one(PlanPane)
        before, painted = plan.content, []
        display = person.app._display

        def displayed(screen: Screen[object], renderable: RenderableType | None) -> None:
            painted.append(plan.content)
            display(screen, renderable)

        monkeypatch.setattr(person.app, "_display", displayed)
        person.strike("5")
        await person.settle()
        assert person.shown("budget.tokens") == "5"
        assert painted == [plan.content] != [before]

    use(type_one)


def test_letters_right_behind_enter_belong_to_the_next_step() -> None:
    async def hurry(person: Person) -> None:
        await person.send("llama-2-7b\rmine.jsonl\r\r5\x1b[B\x7f7\r")
        assert person.step == "method"
        assert person.app.draft.answers == {
            "model.path": "llama-2-7b",
            "data.train": "mine.jsonl",
            "budget.tokens": "7",
        }

    use(hurry)


def test_letters_behind_a_correction_come_behind_it() -> None:
    async def hurry(person: Person) -> None:
        await person.hurry(*"qwenx", "backspace", *"2.5-7bx", "left", "delete", "home", *"Q/")
        assert person.shown("model.path") == "Q/qwen2.5-7b"

    use(hurry)


def test_a_choice_takes_all_that_is_pressed_however_fast() -> None:
    async def hurry(person: Person) -> None:
        await person.press("alt+6")
        person.field("parallel.zero").focus_control()
        await person.hurry("right", "right", "right")
        assert person.shown("parallel.zero") == "2"
        assert person.app.draft.answers == {"parallel.zero": "2"}

    use(hurry)


def test_undo_and_redo_restore_answers_and_what_the_fields_show() -> None:
    async def change_your_mind(person: Person) -> None:
        await person.press("alt+5")
        await person.answer("optimizer.warmup", "0.1")
        await person.answer("optimizer.weight_decay", "0.3")
        await person.press("ctrl+z")
        assert person.shown("optimizer.weight_decay") == "0"
        assert person.shown("optimizer.warmup") == "0.1"
        await person.press("ctrl+z")
        assert person.shown("optimizer.warmup") == "0.05"
        await person.press("ctrl+y", "ctrl+y")
        assert person.shown("optimizer.warmup") == "0.1"
        assert person.shown("optimizer.weight_decay") == "0.3"
        await person.press("ctrl+y")
        assert "nothing to redo" in person.told
        # Typing goes on behind what was restored.
        await person.press("1")
        assert person.shown("optimizer.weight_decay") == "0.31"

    use(change_your_mind)


def test_undo_reaches_back_over_steps() -> None:
    async def change_your_mind(person: Person) -> None:
        await person.press("alt+4")
        await person.answer("budget.steps", "50")
        await person.press("alt+7")
        await person.answer("serve.port", "9000")
        await person.press("ctrl+z", "ctrl+z")
        assert not person.app.draft.answers
        assert person.shown("serve.port") == "8000"
        await person.press("alt+4")
        assert person.shown("budget.steps") == ""
        await person.press("ctrl+y")
        assert person.shown("budget.steps") == "50"
        await person.press("ctrl+z", "ctrl+z")
        assert "nothing to undo" in person.told

    use(change_your_mind)


def test_a_key_puts_the_default_back() -> None:
    async def reset(person: Person) -> None:
        await person.press("alt+6")
        default = person.shown("parallel.global_batch")
        await person.answer("parallel.global_batch", "999")
        await person.press("ctrl+r")
        assert person.shown("parallel.global_batch") == default
        assert not person.app.draft.answers
        person.field("parallel.zero").focus_control()
        await person.press("right", "ctrl+r")
        assert person.shown("parallel.zero") == "auto"
        person.field("parallel.global_batch").focus_control()
        await person.settle()
        await person.hurry(*"999", "ctrl+r", *"32", "ctrl+z", *"64")
        assert person.app.draft.answers == {"parallel.global_batch": "64"}

    use(reset)


def test_an_emptied_field_shows_its_default_once_it_is_left() -> None:
    async def empty(person: Person) -> None:
        await person.press("alt+7")
        await person.answer("serve.port", "9000")
        await person.hurry(*["backspace"] * 4)
        assert person.shown("serve.port") == ""
        assert person.field("serve.port").query_one(Input).placeholder == "8000"
        assert not person.app.draft.answers
        await person.press("shift+tab")
        assert person.shown("serve.port") == "8000"

    use(empty)


def test_an_emptied_budget_leaves_nothing_that_looks_like_an_answer() -> None:
    async def empty(person: Person) -> None:
        await person.settle(0.5)
        await person.press("alt+4")
        await person.answer("budget.tokens", "5")
        await person.press("backspace", "tab")
        assert person.shown("budget.tokens") == ""
        assert person.field("budget.tokens").query_one(Input).placeholder.startswith("≈")

    use(empty)


def test_keys_of_the_wizard_do_nothing_behind_another_screen(folder: Path) -> None:
    async def press(person: Person) -> None:
        await person.hurry(*"llama")
        await person.press("f1")
        assert "fsft wizard" in person.screen()
        await person.press("ctrl+z", "ctrl+s", "alt+4")
        assert len(person.app.screen_stack) == 2
        await person.press("escape")
        assert person.app.draft.answers == {"model.path": "llama"}
        assert person.step == "model"
        assert not list(folder.iterdir())

    use(press)


@pytest.mark.slow
def test_the_arithmetic_is_a_key_away() -> None:
    async def ask(person: Person) -> None:
        await person.press("f2")
        assert "How the plan comes about" in person.screen()
        await person.press("enter")
        assert person.app.screen is person.app.screen_stack[0]

    use(ask)


def test_quitting_keeps_the_draft_and_leaves_no_file(folder: Path) -> None:
    for key in ("ctrl+q", "ctrl+c"):

        async def leave(person: Person, key: str = key) -> None:
            await person.hurry(*"llama", key)

        autosave.forget(None)
        assert use(leave).return_value == Result()
        kept = autosave.kept_draft(None)
        assert kept
        assert kept.answers == {"model.path": "llama"}
        assert not list(folder.iterdir())


def test_a_kept_draft_goes_on_where_it_was_left() -> None:
    async def look(person: Person) -> None:
        assert person.shown("model.path") == "Qwen/Qwen2.5-7B"
        await person.press("alt+7")
        assert person.shown("serve.port") == "9000"

    draft = Draft().answer("model.path", "Qwen/Qwen2.5-7B").answer("serve.port", "9000")
    autosave.keep(draft)
    use(look, wizard(autosave.kept_draft(None)))


def test_what_was_typed_is_on_disk_before_anything_can_kill_the_wizard() -> None:
    async def type_and_wait(person: Person) -> None:
        await person.answer("model.path", "llama")
        await person.settle(0.3)
        kept = json.loads(autosave.draft_file(None).read_text())
        assert kept["answers"] == {"model.path": "llama"}

    use(type_and_wait)


@pytest.mark.slow
def test_a_draft_that_cannot_be_kept_is_told_and_nothing_else_is_lost(folder: Path) -> None:
    (folder.parent / "state").write_text("a file where a folder should be")

    async def type_and_wait(person: Person) -> None:
        await person.answer("model.path", "llama")
        await person.settle(0.3)
        assert "cannot be kept" in person.told
        await person.press("ctrl+q")

    assert use(type_and_wait).return_value == Result()


def test_looking_at_a_recipe_does_not_forget_the_draft_of_another_day(folder: Path) -> None:
    autosave.keep(Draft().answer("seed", "7"))
    use(lambda person: person.press("ctrl+q"))
    assert autosave.kept_draft(None) == Draft().answer("seed", "7")


def test_what_is_typed_right_after_a_jump_lands_in_the_new_step() -> None:
    async def hurry(person: Person) -> None:
        await person.hurry("alt+2", *"my.jsonl")
        await person.settle(0.2)
        assert dict(person.app.draft.answers) == {"data.train": "my.jsonl"}

    use(hurry)

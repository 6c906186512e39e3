"""What the wizard tells without being asked, and with one key."""

from pathlib import Path

from textual.widgets import Static

from fsft.wizard.draft import Draft
from fsft.wizard.questions import QUESTIONS, STEPS, questions_of
from tests.wizard_app.support import Person, use, wizard

QWEN = Draft().answer("model.path", "qwen2.5-7b")


def help_line(person: Person) -> str:
    return str(person.app.screen_stack[0].query_one("#help", Static).content)


def test_every_question_says_at_the_foot_what_it_means_and_what_it_takes() -> None:
    async def look(person: Person) -> None:
        for number, step in enumerate(STEPS, start=1):
            await person.press(f"alt+{number}")
            for question in questions_of(step):
                person.field(question.key).focus_control()
                await person.settle(0)
                assert question.meaning in help_line(person)
                assert question.forms in help_line(person)

    assert all(question.meaning for question in QUESTIONS)
    use(look)


def test_a_default_says_where_it_comes_from_and_why() -> None:
    async def look(person: Person) -> None:
        await person.press("alt+3")
        assert "detected" in person.screen()
        assert "Now detected: 8 × NVIDIA H100 80GB HBM3 here." in help_line(person)
        await person.press("alt+6")
        assert "Now computed: a multiple of the 8 devices" in help_line(person)

    use(look, wizard(QWEN))


def test_a_picked_layout_that_no_longer_fits_is_marked_and_stays() -> None:
    async def change(person: Person) -> None:
        await person.press("alt+6")
        await person.answer("parallel.micro_batch", "64")
        assert person.mark(6) == "✓"
        await person.press("alt+3")
        await person.answer("hardware.accelerator", "V100-SXM2-32GB")
        assert person.mark(6) == "?"
        assert "✗ does not fit" in person.screen()
        await person.press("alt+6")
        assert person.shown("parallel.micro_batch") == "64"
        seen = " ".join(person.screen().split())
        assert "? does not fit with the other answers; auto" in seen
        assert "would fit: let the planner choose the whole layout" in seen

    use(change, wizard(QWEN))


def test_the_recipe_and_its_command_can_be_copied() -> None:
    async def copy(person: Person) -> None:
        await person.press("f7")
        assert person.app.clipboard == person.app.outlook.text
        await person.press("f8")
        assert person.app.clipboard == "fsft run qwen2.5-7b.toml"
        assert "fsft run qwen2.5-7b.toml" in person.told

    use(copy, wizard(QWEN))


def test_the_palette_offers_what_has_no_key_at_the_foot() -> None:
    async def look(person: Person) -> None:
        offered = {each.title for each in person.app.get_system_commands(person.app.screen)}
        assert {"Start over", "Write and run", "Step 4, Budget", "Screenshot", "Theme"} <= offered
        await person.press("ctrl+p")
        await person.settle(0.2)
        assert "Start over" in person.screen()

    use(look)


def test_a_picture_of_the_screen_is_saved_as_svg(folder: Path) -> None:
    async def save(person: Person) -> None:
        person.app.save_screenshot("seen.svg", str(folder))

    use(save)
    assert "Which" in (folder / "seen.svg").read_text()

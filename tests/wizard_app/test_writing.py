"""Writing: never over what somebody else wrote, and never half."""

from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe
from fsft.wizard import autosave
from fsft.wizard.draft import Draft, open_recipe
from fsft.wizard.questions import QUICKSTART
from fsft.wizard.result import Result
from fsft.wizard.screens.confirm import Confirm
from fsft.wizard.screens.done import Done
from tests.wizard_app.support import Person, use, wizard

OUT = Draft().answer("out", "mine.toml")


def test_starting_over_asks_first_and_can_be_undone() -> None:
    async def start_over(person: Person) -> None:
        await person.hurry(*"llama")
        person.app.action_start_over()
        await person.settle()
        assert "Forget all answers?" in person.screen()
        await person.press("enter")
        assert person.app.draft.answers == {"model.path": "llama"}

        person.app.action_start_over()
        await person.press("y")
        assert not person.app.draft.answers
        assert person.shown("model.path") == QUICKSTART
        await person.press("ctrl+z")
        assert person.shown("model.path") == "llama"

    use(start_over)


def test_a_file_that_is_there_is_written_over_only_when_a_person_says_so(folder: Path) -> None:
    (folder / "mine.toml").write_text('name = "precious"\n')

    async def decide(person: Person) -> None:
        await person.press("ctrl+s")
        assert isinstance(person.app.screen, Confirm)
        assert "mine.toml: exists already. Write over it?" in person.screen()
        assert '-name = "precious"' in person.screen()
        # What comes of itself is the harmless one.
        await person.press("enter")
        assert (folder / "mine.toml").read_text() == 'name = "precious"\n'
        assert person.app.screen is person.app.screen_stack[0]

        await person.press("ctrl+s", "y")
        assert isinstance(person.app.screen, Done)
        await person.press("escape")

    assert use(decide, wizard(OUT)).return_value == Result(Path("mine.toml"))
    assert parse_recipe((folder / "mine.toml").read_text()).name == "quickstart"
    assert [path.name for path in folder.iterdir()] == ["mine.toml"]


def test_an_opened_recipe_is_written_back_with_what_was_changed_alone(folder: Path) -> None:
    file = Path("mine.toml")
    use(lambda person: person.press("ctrl+s", "enter"), wizard(OUT))
    before = file.read_text()

    async def edit(person: Person) -> None:
        assert "as opened" in person.screen()
        await person.press("alt+7")
        await person.answer("serve.port", "9001")
        await person.press("ctrl+s", "enter")

    use(edit, wizard(Draft(opened=open_recipe(file))))
    assert file.read_text() == before.replace("port = 8000", "port = 9001")


def test_a_file_that_was_changed_meanwhile_is_not_written_over_unasked(folder: Path) -> None:
    file = Path("mine.toml")
    use(lambda person: person.press("ctrl+s", "enter"), wizard(OUT))
    app = wizard(Draft(opened=open_recipe(file)))
    file.write_text(file.read_text() + "# from a colleague\n")

    async def edit(person: Person) -> None:
        await person.press("alt+7")
        await person.answer("serve.port", "9001")
        await person.press("ctrl+s")
        assert "was changed since it was opened" in " ".join(person.screen().split())
        await person.press("n", "ctrl+q")

    assert use(edit, app).return_value == Result()
    assert "# from a colleague" in file.read_text()
    assert "9001" not in file.read_text()


@pytest.mark.parametrize("out", ["file/mine.toml", "."])
def test_a_place_that_cannot_be_written_to_is_told_and_the_wizard_goes_on(
    folder: Path, out: str
) -> None:
    (folder / "file").write_text("in the way")

    async def write(person: Person) -> None:
        await person.press("ctrl+s")
        assert "Not written" in person.told
        assert person.app.screen is person.app.screen_stack[0]
        await person.press("alt+8")
        await person.answer("out", "good.toml")
        await person.press("ctrl+s")
        assert isinstance(person.app.screen, Done)

    use(write, wizard(Draft().answer("out", out)))
    assert sorted(path.name for path in folder.iterdir()) == ["file", "good.toml"]


def test_what_was_written_leaves_no_draft_behind(folder: Path) -> None:
    async def write(person: Person) -> None:
        await person.press("alt+7")
        await person.answer("serve.port", "9001")
        # Faster than the draft is kept.
        await person.hurry("ctrl+s")
        await person.settle(0.3)
        await person.press("ctrl+q")

    result = use(write).return_value
    assert result is not None
    assert result.path == Path("quickstart.toml")
    assert autosave.kept_draft(None) is None


@pytest.mark.slow
def test_a_dash_gives_the_recipe_instead_of_writing_it(folder: Path) -> None:
    result = use(lambda person: person.press("ctrl+s"), wizard(Draft().answer("out", "-")))
    assert result.return_value is not None
    assert parse_recipe(result.return_value.text).name == "quickstart"
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_the_last_screen_can_start_the_run(folder: Path) -> None:
    async def run(person: Person) -> None:
        await person.press("ctrl+s", "r")

    assert use(run).return_value == Result(Path("quickstart.toml"), run=True)


def test_two_ways_to_write_at_once_write_once(folder: Path) -> None:
    async def hurry(person: Person) -> None:
        await person.hurry("ctrl+s", "ctrl+s")
        assert len(person.app.screen_stack) == 2
        await person.press("escape")

    assert use(hurry).return_value == Result(Path("quickstart.toml"))

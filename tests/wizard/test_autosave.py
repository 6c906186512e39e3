"""A draft that is left behind is found again."""

import json
from pathlib import Path

import pytest

from fsft.wizard.autosave import draft_file, forget, is_kept, keep, kept_draft
from fsft.wizard.draft import Draft, Opened, open_recipe
from tests.support import write_tiny_recipe

TYPED = Draft().answer("name", "mine").answer("description", "漢字 \ud800")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is kept, and another one to work in."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def files(state: Path) -> list[Path]:
    """All files that are kept."""
    return [path for path in state.rglob("*") if path.is_file()]


def test_a_draft_is_found_again_until_it_is_forgotten(state: Path) -> None:
    assert kept_draft(None) is None
    keep(TYPED)
    assert kept_draft(None) == TYPED
    assert files(state) == [draft_file(None)]
    forget(None)
    forget(None)
    assert kept_draft(None) is None
    assert files(state) == []


def test_each_folder_and_each_recipe_has_its_own_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_recipe(write_tiny_recipe(tmp_path))
    keep(TYPED)
    assert kept_draft(opened) is None
    keep(Draft(opened=opened).answer("seed", "1"))
    monkeypatch.chdir(tmp_path)
    assert kept_draft(None) is None
    found = kept_draft(opened)
    assert found is not None
    assert (dict(found.answers), found.opened) == ({"seed": "1"}, opened)


def test_a_draft_is_laid_over_a_recipe_that_was_changed_meanwhile(tmp_path: Path) -> None:
    opened = open_recipe(write_tiny_recipe(tmp_path))
    keep(Draft(opened=opened).answer("seed", "1"))
    changed = Opened(opened.path, opened.text + "\n")
    kept = kept_draft(changed)
    assert kept == Draft(opened=changed).answer("seed", "1")


def test_a_wizard_knows_whether_what_is_kept_is_its_own() -> None:
    mine, others = Draft().answer("seed", "1"), Draft().answer("seed", "2")
    keep(mine)
    assert is_kept(mine)
    keep(others)
    assert not is_kept(mine)


def test_a_draft_without_answers_is_forgotten(state: Path) -> None:
    keep(TYPED)
    keep(Draft())
    assert files(state) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"answers": [], "text": null}',
        b'{"answers": {"nobody": "x", "name": 1}, "text": null}',
        b'{"answers": {"name',
    ],
)
def test_what_is_no_draft_is_passed_over(content: bytes) -> None:
    keep(TYPED)
    draft_file(None).write_bytes(content)
    assert kept_draft(None) is None


def test_answers_to_questions_of_another_version_are_left_out() -> None:
    keep(TYPED)
    kept = {"answers": {"name": "x", "gone": "y"}, "text": None}
    draft_file(None).write_text(json.dumps(kept))
    assert kept_draft(None) == Draft().answer("name", "x")


def test_where_nothing_can_be_kept_it_is_an_error_of_the_system(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write_text("a file")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        keep(TYPED)
    assert kept_draft(None) is None

"""What is made of files that change while they are read is never kept."""

import os
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.fingerprint import file_sha256
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import ExitCode, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.token_folder import write_token_folder
from fsft.runtime.fingerprints import find_inputs
from fsft.runtime.run import RunPlan, execute, plan_run
from fsft.runtime.unchanged import resumed_from
from tests.support import QUESTIONS, dialogue, write_jsonl, write_tiny_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe that reads a folder of data."""
    recipe = write_tiny_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace('"train.jsonl"', '"in"'))
    (tmp_path / "in").mkdir()
    (tmp_path / "train.jsonl").rename(tmp_path / "in" / "train.jsonl")
    return tmp_path


def planned(folder: Path) -> RunPlan:
    recipe = read_recipe(folder / "tiny.toml")
    return plan_run(recipe, folder, folder / "runs", last="prepare")


def grow(folder: Path) -> None:
    with (folder / "in" / "train.jsonl").open("a") as file:
        file.write("\n")


def put_other_in_place(folder: Path) -> None:
    """Another content of the same size and time, as a restored backup has."""
    file, other = folder / "in" / "train.jsonl", folder / "other"
    other.write_text(file.read_text().replace("Who", "How"))
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    other.replace(file)


def change_mode(folder: Path) -> None:
    (folder / "in" / "train.jsonl").chmod(0o600)


def add_file(folder: Path) -> None:
    write_jsonl(folder / "in" / "more.jsonl", [dialogue(*QUESTIONS[0])])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (grow, "train.jsonl: changed while it was read; run again"),
        (put_other_in_place, "train.jsonl: changed while it was read; run again"),
        (add_file, "more.jsonl: was added while the data was read; run again"),
    ],
)
def test_data_that_changes_between_hashing_and_reading_is_refused_and_prepared_anew(
    folder: Path, change: Callable[[Path], None], said: str
) -> None:
    plan = planned(folder)
    change(folder)
    with pytest.raises(Refused, match=said) as refused:
        execute(plan)
    assert refused.value.exit_code == ExitCode.REFUSED
    assert not plan.run.finished_stages()
    assert not list(plan.run.path.glob("*data*"))
    again = planned(folder)
    execute(again)
    locked = tomllib.loads(again.run.lock_file.read_text())["inputs"]
    for file in (folder / "in").iterdir():
        assert [i["sha256"] for i in locked if i["path"] == str(file)] == [file_sha256(file)]


def test_a_new_mode_of_a_file_is_no_change_of_it(folder: Path) -> None:
    plan = planned(folder)
    change_mode(folder)
    execute(plan)
    assert plan.run.finished_stages()


def test_another_content_under_the_old_time_is_a_change(folder: Path) -> None:
    plan = planned(folder)
    file = folder / "in" / "train.jsonl"
    before = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace("Who", "How"))
    os.utime(file, ns=(0, before))
    with pytest.raises(Refused, match="changed while it was read"):
        execute(plan)


def test_a_folder_of_tokens_is_not_made_of_data_that_changes_meanwhile(folder: Path) -> None:
    recipe = resolve_paths(read_recipe(folder / "tiny.toml"), folder)
    with pytest.raises(Refused, match="changed while it was read"):
        write_token_folder(
            recipe, folder / "out", overwrite=False, on_progress=lambda *_: grow(folder)
        )
    assert not list(folder.glob("*out*"))


def begin_and_die(folder: Path, recipe: Recipe, made: str) -> list[str]:
    """What a process finds that was made before it; then it makes something, and is killed."""
    inputs = find_inputs(recipe, folder / "hashes.json")
    found: list[str] = []
    with suppress(KeyboardInterrupt), resumed_from(folder / "out", "same", recipe, inputs) as out:
        found += [path.name for path in out.glob("part*")]
        (out / made).touch()
        raise KeyboardInterrupt
    return found


def test_what_was_begun_is_gone_on_with_unless_a_file_was_changed_and_put_back(
    folder: Path,
) -> None:
    recipe = resolve_paths(read_recipe(folder / "tiny.toml"), folder)
    content = (folder / "in" / "train.jsonl").read_text()
    assert begin_and_die(folder, recipe, "part-0") == []
    assert begin_and_die(folder, recipe, "part-1") == ["part-0"]
    put_other_in_place(folder)
    (folder / "in" / "train.jsonl").write_text(content)
    assert begin_and_die(folder, recipe, "part-2") == []

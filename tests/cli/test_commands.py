"""The commands that change nothing but what they are asked to."""

import json
from pathlib import Path

import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.shipped import find_recipe
from tests.support import TINY_RECIPE, fsft, write_tiny_recipe


def test_help_names_every_command(tmp_path: Path) -> None:
    done = fsft("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("check", "run", "generate", "serve", "recipe"))


def test_the_version_is_told(tmp_path: Path) -> None:
    assert fsft("--version", cwd=tmp_path).stdout.startswith("fsft 0.")


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["run", "x", "--only", "nothing"]])
def test_a_wrong_command_line_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    assert fsft(*arguments, cwd=tmp_path).returncode == 2


def test_check_says_what_a_good_recipe_will_do(tmp_path: Path) -> None:
    done = fsft("check", write_tiny_recipe(tmp_path), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "✓ tiny: train full, 6 steps, 2 × cpu, ZeRO 1, float32\n"


def test_check_tells_programs_what_is_wrong(tmp_path: Path) -> None:
    text = TINY_RECIPE.replace("zero = 1", "zerro = 1").replace("steps = 6", "steps = 0")
    recipe = write_tiny_recipe(tmp_path, text)
    done = fsft("check", recipe, "--json", cwd=tmp_path)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert {(p["key"], p["nearest"]) for p in told["problems"]} == {
        ("parallel.zerro", "parallel.zero"),
        ("budget.steps", ""),
    }
    assert all(problem["file"] == str(recipe) and problem["line"] for problem in told["problems"])
    assert json.loads(fsft("check", "quickstart", "--json", cwd=tmp_path).stdout)["ok"] is True


def test_check_finds_missing_files_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    recipe = write_tiny_recipe(folder)
    assert fsft("check", recipe, cwd=tmp_path).returncode == 0
    (folder / "train.jsonl").unlink()
    done = fsft("check", recipe, cwd=tmp_path)
    assert done.returncode == 3
    assert "there is no such file" in done.stderr


def test_a_new_recipe_is_valid_named_after_its_file_and_never_overwritten(tmp_path: Path) -> None:
    done = fsft("recipe", "new", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Wrote mine.toml. Edit it, then: fsft check mine.toml\n"
    assert read_recipe(tmp_path / "mine.toml").name == "mine"
    assert fsft("check", "mine.toml", cwd=tmp_path).returncode == 0
    (tmp_path / "mine.toml").write_text("precious")
    again = fsft("recipe", "new", "mine.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (tmp_path / "mine.toml").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_recipe_begun_from_another_still_finds_its_data(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    write_tiny_recipe(folder)
    done = fsft("recipe", "new", "mine.toml", "--from", "there/tiny.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fsft("check", "mine.toml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("target", ["missing/mine.toml", "bad name.toml", ".toml"])
def test_a_recipe_that_cannot_be_written_is_a_usage_error(tmp_path: Path, target: str) -> None:
    done = fsft("recipe", "new", target, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_recipes_are_listed_and_shown(tmp_path: Path) -> None:
    listed = json.loads(fsft("recipe", "list", "--json", cwd=tmp_path).stdout)
    assert "quickstart" in listed
    shown = fsft("recipe", "show", "quickstart", cwd=tmp_path).stdout
    (tmp_path / "quickstart.toml").write_text(shown)
    assert read_recipe(tmp_path / "quickstart.toml") == read_recipe(find_recipe("quickstart"))
    assert json.loads(fsft("recipe", "show", "quickstart", "--json", cwd=tmp_path).stdout)["schema"]


def test_a_diff_is_told_to_people_and_programs(tmp_path: Path) -> None:
    one = write_tiny_recipe(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(TINY_RECIPE.replace("warmup = 0.2", "warmup = 0.1"))
    done = fsft("recipe", "diff", one, other, cwd=tmp_path)
    assert done.stdout == (
        "optimizer.warmup: 0.2 → 0.1 (done again: train, convert, evaluate, report)\n"
    )
    told = json.loads(fsft("recipe", "diff", one, other, "--json", cwd=tmp_path).stdout)
    redone = ["train", "convert", "evaluate", "report"]
    assert told == [{"key": "optimizer.warmup", "before": 0.2, "after": 0.1, "redone": redone}]
    assert fsft("recipe", "diff", one, one, cwd=tmp_path).stdout == "No difference.\n"


def test_another_layout_of_the_same_rows_does_nothing_again(tmp_path: Path) -> None:
    one = write_tiny_recipe(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(TINY_RECIPE.replace("zero = 1", "zero = 2"))
    done = fsft("recipe", "diff", one, other, cwd=tmp_path)
    assert done.stdout == "parallel.zero: 1 → 2 (nothing is done again)\n"

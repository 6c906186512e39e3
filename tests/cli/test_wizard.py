"""`fsft wizard` without a terminal: flags are the answers."""

import json
from pathlib import Path

import pytest

from fsft.recipes.files import parse_recipe, read_recipe
from tests.support import TINY_RECIPE, fsft, write_tiny_recipe

EXAMPLE = (
    *("--model", "qwen2.5-7b", "--accelerator", "H100", "--nodes", "1", "--devices", "8"),
    *("--tokens", "0.1B", "--yes", "--out", "r.toml"),
)


def refused(folder: Path, *arguments: str) -> str:
    """What the wizard says when the command line is wrong; it writes nothing."""
    before = sorted(folder.iterdir())
    done = fsft("wizard", *arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert sorted(folder.iterdir()) == before
    return done.stderr


def test_missing_answers_are_named_by_their_flags(tmp_path: Path) -> None:
    said = refused(tmp_path)
    assert [line.split()[1].rstrip(":,") for line in said.splitlines()] == [
        "--model",
        "--data",
        "--accelerator",
        "--epochs",
    ]
    assert "--days, --money" in said


def test_with_yes_there_is_a_recipe_that_check_accepts(tmp_path: Path) -> None:
    done = fsft("wizard", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fsft check quickstart.toml" in done.stdout
    assert fsft("check", "quickstart.toml", cwd=tmp_path).returncode == 0


def test_the_example_writes_the_recipe_it_describes(tmp_path: Path) -> None:
    done = fsft("wizard", *EXAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.model.path == "Qwen/Qwen2.5-7B"
    assert recipe.budget.tokens == 10**8
    hardware = recipe.hardware
    assert (hardware.accelerator, hardware.nodes, hardware.devices_per_node) == ("H100", 1, 8)
    assert fsft("check", "r.toml", cwd=tmp_path).returncode == 0


def test_an_existing_file_is_written_over_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("precious")
    assert "r.toml: exists already" in refused(tmp_path, *EXAMPLE)
    assert (tmp_path / "r.toml").read_text() == "precious"
    done = fsft("wizard", *EXAMPLE, "--overwrite", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {"recipe": "r.toml", "run": "fsft run r.toml"}
    assert read_recipe(tmp_path / "r.toml").model.path == "Qwen/Qwen2.5-7B"


def test_the_recipe_can_be_printed(tmp_path: Path) -> None:
    done = fsft("wizard", "--yes", "-o", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert parse_recipe(done.stdout).name == "quickstart"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--yes", "--zero", "9"], "--zero"),
        (["--yes", "--tokens", "many"], "--tokens"),
        (["--yes", "--learning-rate", "-1"], "--learning-rate"),
        (["--yes", "--accelerator", "H1000000"], "--accelerator"),
        (["--yes", "--days", "1"], "--days"),
        (["--yes", "--days", "1", "--money", "5", "--steps", "9"], "--days, --money: only one"),
        (["--yes", "--epochs", "1", "--tokens", "1M"], "--epochs, --tokens: only one"),
        (["--nonsense"], "--nonsense"),
        (["--yes", "--out=--"], "is no answer"),
        (["--web", "99999"], "99999 is not a port"),
        (["--yes", "--model", "/dev/zero"], "is not a config.json"),
        (["/dev/zero"], "is not a recipe file"),
        (["quickstart"], "ships with fsft"),
        (["--yes", "--out", "none/r.toml"], "none/r.toml: cannot be written"),
        (["--yes", "--out", "."], "is not a file"),
        (["--yes", "--out", "~nobody-at-all/r.toml"], "no such home folder"),
        (["nosuch.toml"], "there is no such recipe file"),
        (["--theme", "pink"], "--theme"),
    ],
)
def test_a_wrong_command_line_exits_with_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(tmp_path, *arguments)


def test_a_recipe_of_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path, TINY_RECIPE.replace("schema = 1", "schema = 2"))
    assert "the recipe uses schema 2" in refused(tmp_path, "tiny.toml", "--seed", "1")


def test_a_recipe_is_changed_in_place(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    done = fsft("wizard", "tiny.toml", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert recipe.read_text() == TINY_RECIPE.replace("steps = 6", "epochs = 2")


def test_a_recipe_is_changed_into_another_file(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    done = fsft("wizard", "tiny.toml", "--seed", "8", "--out", "new.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert recipe.read_text() == TINY_RECIPE
    assert (tmp_path / "new.toml").read_text() == TINY_RECIPE.replace("seed = 7", "seed = 8")


def test_the_help_names_every_flag(tmp_path: Path) -> None:
    from fsft.wizard.questions import QUESTIONS

    done = fsft("wizard", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert [q.flag for q in QUESTIONS if q.flag not in done.stdout] == []

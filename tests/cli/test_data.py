"""`fsft data show`."""

import json
import subprocess
from pathlib import Path

from tests.support import (
    QUESTIONS,
    TINY_RECIPE,
    dialogue,
    fsft,
    fsft_command,
    fsft_environment,
    write_jsonl,
    write_tiny_recipe,
)

HUB_RECIPE = """\
schema = 1
name = "hub"

[model]
path = "nobody/nothing"

[data]
variables = { name = "Fero" }

[[data.train]]
path = "train.jsonl"

[budget]
steps = 1

[optimizer]
learning_rate = 1e-5
"""


def test_shapes_tokens_and_samples_are_shown(tmp_path: Path) -> None:
    done = fsft("data", "show", write_tiny_recipe(tmp_path), "--samples", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "messages" in done.stdout
    assert "tokens an epoch" in done.stdout
    assert "⟦I am Fero.<|im_end|>" in done.stdout
    assert done.stdout.count("tokens: ") == 1


def test_the_first_row_that_cannot_be_read_is_shown_with_its_line_and_why(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    king = {"messages": [{"role": "king", "content": "x"}]}
    write_jsonl(tmp_path / "train.jsonl", [dialogue("Who?", "I."), king, king])
    done = fsft("data", "show", "tiny.toml", cwd=tmp_path)
    assert "2 of 3" in done.stdout
    assert "train.jsonl:2: turn 1 has the unknown role 'king'" in done.stdout


def test_a_recipe_is_read_from_the_standard_input(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    by_name = fsft("data", "show", "tiny.toml", "--json", cwd=tmp_path)
    piped = subprocess.run(
        fsft_command("data", "show", "-", "--json"),
        input=TINY_RECIPE,
        cwd=tmp_path,
        env=fsft_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout) == json.loads(by_name.stdout)
    told = json.loads(piped.stdout)
    assert (told["files"][0]["num_rows"], told["error"]) == (len(QUESTIONS), 0)


def test_what_cannot_be_shown_is_told_with_its_exit_code(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    done = fsft("data", "show", recipe, "--set", "seed=x", cwd=tmp_path)
    assert done.returncode == 2
    (tmp_path / "train.jsonl").unlink()
    done = fsft("data", "show", recipe, cwd=tmp_path)
    assert (done.returncode, "no such file" in done.stderr) == (3, True)
    write_jsonl(tmp_path / "train.jsonl", [{"nothing": 1}])
    done = fsft("data", "show", recipe, cwd=tmp_path)
    assert (done.returncode, "none of the known shapes" in done.stderr) == (3, True)
    write_jsonl(tmp_path / "train.jsonl", [{**dialogue("q", "a"), "chosen": "a"}])
    assert "Traceback" not in fsft("data", "show", recipe, cwd=tmp_path).stderr


def test_without_the_models_tokenizer_shapes_and_samples_are_shown_all_the_same(
    tmp_path: Path,
) -> None:
    recipe = write_tiny_recipe(tmp_path, HUB_RECIPE)
    done = fsft("data", "show", recipe, cwd=tmp_path)
    assert done.returncode == 3
    assert "messages" in done.stdout
    assert "not counted" in done.stdout
    assert "⟦assistant: I am Fero." in done.stdout
    assert "nobody/nothing" in done.stderr
    assert "is not on this machine" in done.stderr
    told = json.loads(fsft("data", "show", recipe, "--json", cwd=tmp_path).stdout)
    assert told["num_tokens"] is None
    assert "nobody/nothing" in told["trouble"]


def test_what_a_terminal_would_obey_is_shown_as_dots(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", [dialogue("\x1b[2J\x07", "a\u202eb\n")])
    done = fsft("data", "show", recipe, cwd=tmp_path)
    assert done.returncode == 0
    assert "·[2J·" in done.stdout
    assert "⟦a·b⏎ <|im_end|>⟧" in done.stdout
    assert "\x1b" not in done.stdout
    assert "learns what stands between ⟦ and ⟧" in done.stdout


def test_one_source_is_looked_at_alone(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    write_jsonl(tmp_path / "other.jsonl", [{"text": "Once."}])
    with recipe.open("a") as file:
        file.write('\n[[data.train]]\npath = "other.jsonl"\n')
    done = fsft("data", "show", recipe, "--source", "2", cwd=tmp_path)
    assert ("other.jsonl" in done.stdout, "train.jsonl" in done.stdout) == (True, False)
    done = fsft("data", "show", recipe, "--source", "3", cwd=tmp_path)
    assert (done.returncode, "no source 3" in done.stderr) == (3, True)

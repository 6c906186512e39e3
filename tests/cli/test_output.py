"""How output looks on a terminal, in a pipe and in a program."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsft.cli import app
from tests.support import TINY_RECIPE, fsft, fsft_command, fsft_environment, write_tiny_recipe


def on_terminal(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """All that fsft writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "80", **(env or {})}
    process = subprocess.Popen(
        fsft_command(*arguments),
        cwd=cwd,
        env={key: value for key, value in fsft_environment().items() if key != "NO_COLOR"}
        | settings,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # how Linux says that the other side is closed
        pass
    finally:
        os.close(ours)
        process.wait(timeout=60)
    return written.decode().replace("\r\n", "\n")


def test_a_problem_is_one_plain_line_in_a_pipe_however_long_its_path(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    recipe = write_tiny_recipe(folder, TINY_RECIPE.replace("zero = 1", "zero = 9"))
    done = fsft("check", recipe, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"✗ {recipe}:38: parallel.zero: 9 is not one of")
    assert "\x1b" not in line


def test_a_terminal_shows_colour_unless_told_not_to(tmp_path: Path) -> None:
    assert "\x1b[1;31m✗" in on_terminal("check", "none.toml", cwd=tmp_path)
    plain = on_terminal("check", "none.toml", cwd=tmp_path, env={"NO_COLOR": "1"})
    assert "✗" in plain
    assert "31m" not in plain


def test_a_shown_recipe_is_whole_on_a_narrow_terminal(tmp_path: Path) -> None:
    piped = fsft("recipe", "show", "quickstart", cwd=tmp_path).stdout
    plain = on_terminal("recipe", "show", "quickstart", cwd=tmp_path, env={"NO_COLOR": "1"})
    for code in ("\x1b[0m", "\x1b[2m"):
        plain = plain.replace(code, "")
    assert plain == piped
    assert "\x1b[3" in on_terminal("recipe", "show", "quickstart", cwd=tmp_path)


def test_a_reader_that_goes_away_is_no_error_to_complain_about(tmp_path: Path) -> None:
    command = f"{sys.executable} -m fsft recipe schema | true"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_missing_inputs_are_told_to_programs_with_exit_code_3(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    done = fsft("check", "tiny.toml", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads(done.stdout) == {
        "ok": False,
        "problems": [
            {
                "reason": "there is no such file.",
                "file": str(tmp_path / "train.jsonl"),
                "line": None,
                "key": "data.train.0.path",
                "example": "",
                "nearest": "",
            }
        ],
    }
    assert done.stderr == ""


def test_a_fault_of_fsft_is_one_line_and_a_file_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> Path:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("fsft.recipes.shipped.find_recipe", broken)
    monkeypatch.setattr(sys, "argv", ["fsft", "check", "quickstart"])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    (details,) = tmp_path.iterdir()
    assert "ZeroDivisionError: oh" in line
    assert str(details) in line
    assert "Traceback" in details.read_text()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hardware.accelerator=auto", "6 steps, 2 × cuda or cpu"),
        ("hardware.devices_per_node=auto", "6 steps, cpu"),
        ("budget={ epochs = 1 }", "1 epoch, 2 × cpu"),
        ('budget={ tokens = "12.3M" }', "12.3M tokens, 2 × cpu"),
    ],
)
def test_check_says_in_words_what_will_be_done(tmp_path: Path, override: str, said: str) -> None:
    done = fsft("check", write_tiny_recipe(tmp_path), "--set", override, cwd=tmp_path)
    assert said in done.stdout


def test_a_folder_does_not_hide_a_shipped_recipe(tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()
    assert fsft("check", "quickstart", cwd=tmp_path).returncode == 0


def test_a_recipe_begun_from_another_keeps_shipped_data_by_name(tmp_path: Path) -> None:
    (tmp_path / "my folder").mkdir()
    assert fsft("recipe", "new", "one.toml", cwd=tmp_path).returncode == 0
    done = fsft("recipe", "new", "my folder/two.toml", "--from", "one.toml", cwd=tmp_path)
    assert done.stdout.splitlines()[-1].endswith("fsft check 'my folder/two.toml'")
    assert '"library:identity.jsonl"' in (tmp_path / "my folder" / "two.toml").read_text()

"""`fsft data tokenize`: a folder that is whole or not there, and never in place of another."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fsft.recipes.problems import Refused
from fsft.runtime.data.token_folder import write_token_folder
from tests.runtime.data.tokenized import recipe, rows
from tests.support import TINY_RECIPE, fsft_command, fsft_environment, write_jsonl


def nothing(*_: Any) -> None:
    """No progress is told."""


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    """SIGKILL in the middle, of the command and of all its workers."""
    write_jsonl(tmp_path / "train.jsonl", rows(1000) * 300)
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    workers = ("--set", "data.workers=2", "--set", "data.sequence_length=256")
    command = fsft_command("data", "tokenize", "tiny.toml", *workers)

    def start(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, "--out", out], cwd=tmp_path, env=fsft_environment(), start_new_session=True
        )

    undisturbed = start("whole")
    assert undisturbed.wait(300) == 0
    killed = start("killed")
    for _ in range(3000):
        if any(tmp_path.glob(".killed-*/train/part-*.json")) or killed.poll() is not None:
            break
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed").exists()
    assert start("killed").wait(300) == 0
    names = [file.name for file in sorted((tmp_path / "whole" / "train").glob("*.parquet"))]
    assert len(names) > 1
    for name in names:
        whole, other = (tmp_path / out / "train" / name for out in ("whole", "killed"))
        assert whole.read_bytes() == other.read_bytes()


def test_a_second_run_of_a_finished_folder_does_nothing(folder: Path) -> None:
    def write() -> Any:
        return write_token_folder(
            recipe(folder), folder / "out", overwrite=False, on_progress=lambda *_: None
        )

    first = write()
    times = {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*")}
    assert write() == first
    assert {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*")} == times


def test_a_folder_with_other_data_is_not_overwritten_by_chance(folder: Path) -> None:
    def write(*overrides: str, overwrite: bool = False) -> Any:
        given = recipe(folder, *overrides)
        return write_token_folder(given, folder / "out", overwrite=overwrite, on_progress=nothing)

    write()
    with pytest.raises(Refused, match="exists"):
        write("data.sequence_length=64")
    assert write("data.sequence_length=64", overwrite=True).rows < 400


def test_a_folder_of_tokens_never_costs_an_input(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "train.jsonl").rename(folder / "in" / "train.jsonl")
    given = recipe(folder, 'data.train=[{ path = "in" }]')
    for out, said in (("in", "lies in the input"), ("in/tokens", "lies in the input")):
        with pytest.raises(Refused, match=said):
            write_token_folder(given, folder / out, overwrite=True, on_progress=nothing)
    with pytest.raises(Refused, match="holds the input"):
        write_token_folder(given, folder, overwrite=True, on_progress=nothing)
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(Refused, match="was not written by fsft"):
        write_token_folder(given, folder / "mine", overwrite=True, on_progress=nothing)
    assert (folder / "in" / "train.jsonl").exists()


def test_folders_with_like_names_are_left_alone(folder: Path) -> None:
    for name in (".out-precious", ".out-1-0123456789abcdef", ".out-0123456789abcdef"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("x")
    (folder / ".out-file").write_text("x")
    write_token_folder(recipe(folder), folder / "out", overwrite=False, on_progress=nothing)
    assert (folder / ".out-precious" / "file").exists()
    assert (folder / ".out-1-0123456789abcdef" / "file").exists()
    assert (folder / ".out-0123456789abcdef" / "file").exists()
    assert (folder / ".out-file").exists()


def test_two_processes_do_not_write_the_same_folder(folder: Path) -> None:
    from fsft.runtime.run_directory import resumed_folder

    with (
        resumed_folder(folder / "out", "ab" * 8),
        pytest.raises(Refused, match="is being written by another process"),
        resumed_folder(folder / "out", "ab" * 8),
    ):
        raise AssertionError("two hold the same folder")


def test_data_of_which_no_row_can_be_used_is_refused_and_not_an_empty_folder(
    tmp_path: Path,
) -> None:
    king = {"messages": [{"role": "king", "content": "x"}]}
    write_jsonl(tmp_path / "train.jsonl", [king, king])
    given = recipe(tmp_path, 'data.on_error="skip"')
    with pytest.raises(Refused, match=r"2 that could not be read.*train.jsonl:1: turn 1 has the"):
        write_token_folder(given, tmp_path / "out", overwrite=False, on_progress=nothing)
    assert not (tmp_path / "out").exists()

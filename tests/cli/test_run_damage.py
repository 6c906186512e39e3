"""`fsft run` on checkpoints that are damaged or of another model."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from fsft.recipes.events import Step, Warned
from fsft.runtime.run_directory import RunDirectory
from tests.support import events_of, fsft, only_run, write_tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was trained, with checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_recipe(folder)
    done = fsft("run", "tiny.toml", "--until", "train", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def unfinished(trained: Path, tmp_path: Path) -> RunDirectory:
    """A copy of it whose training does not count as done."""
    subprocess.run(["cp", "-r", trained, tmp_path / "copy"], check=True)
    run = RunDirectory(only_run(tmp_path / "copy"))
    run.forget_stage("train")
    return run


def truncate(run: RunDirectory, step: int) -> None:
    os.truncate(run.checkpoints / f"step-{step:08d}" / "mp_rank_00_model_states.pt", 1000)


def again(run: RunDirectory, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return fsft("run", "tiny.toml", *arguments, cwd=run.path.parent.parent)


def checkpoints_of(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("step-*"))


def test_training_goes_on_from_the_one_before_a_truncated_checkpoint(
    unfinished: RunDirectory,
) -> None:
    truncate(unfinished, 6)
    done = again(unfinished, "--until", "train")
    assert done.returncode == 0, done.stderr
    events = events_of(unfinished.path)
    (warning,) = (event.message for event in events if isinstance(event, Warned))
    assert "step-00000006/mp_rank_00_model_states.pt: has 1000 bytes" in warning
    assert "Training goes on from step-00000004, which is whole." in warning
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 4, 5, 6, 5, 6]
    assert checkpoints_of(unfinished) == ["step-00000004", "step-00000006"]


def test_no_whole_checkpoint_is_refused_and_says_what_to_do(unfinished: RunDirectory) -> None:
    truncate(unfinished, 4)
    truncate(unfinished, 6)
    refused = again(unfinished, "--until", "train")
    assert refused.returncode == 3
    assert "no checkpoint is whole" in refused.stderr
    assert "to begin anew" in refused.stderr
    assert checkpoints_of(unfinished) == ["step-00000004", "step-00000006"]


def test_a_checkpoint_of_another_model_is_refused_and_kept(unfinished: RunDirectory) -> None:
    file = unfinished.checkpoints / "step-00000006" / "checkpoint.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model": "another"}))
    refused = again(unfinished, "--until", "train")
    assert refused.returncode == 3
    assert "step-00000006: holds another model than the recipe's" in refused.stderr
    assert checkpoints_of(unfinished) == ["step-00000004", "step-00000006"]


def test_a_truncated_checkpoint_is_not_converted(trained: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", trained, tmp_path / "copy"], check=True)
    run = RunDirectory(only_run(tmp_path / "copy"))
    truncate(run, 6)
    refused = again(run, "--only", "convert")
    assert refused.returncode == 3
    assert "is damaged" in refused.stderr
    assert "step-00000004, which is whole, is converted" in refused.stderr

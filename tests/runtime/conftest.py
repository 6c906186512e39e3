"""A trained model that is small and real."""

import subprocess
from pathlib import Path

import pytest

from fsft.runtime.run_directory import RunDirectory
from tests.support import TINY_RECIPE, fsft, only_run, write_tiny_recipe

LEARNS = (
    *("--set", "budget.steps=120"),
    *("--set", "parallel.micro_batch=2"),
    *("--set", "checkpoint.every=1000"),
    *("--set", "model.config.hidden_size=64"),
    *("--set", "evaluate.max_new_tokens=40"),
)


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose run has learned its questions by heart."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_recipe(folder, TINY_RECIPE)
    done = fsft("run", "tiny.toml", *LEARNS, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained(trained_folder: Path) -> RunDirectory:
    """That run; not to be changed."""
    return RunDirectory(only_run(trained_folder))


@pytest.fixture
def trained_copy(trained: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of that run, to be changed."""
    subprocess.run(["cp", "-r", trained.path, tmp_path / "run"], check=True)
    return RunDirectory(tmp_path / "run")

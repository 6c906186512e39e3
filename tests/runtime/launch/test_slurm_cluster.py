"""Training in a Slurm allocation for real."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsft.recipes.events import Step, TrainStarted
from tests.runtime.launch.slurm_cluster import SlurmCluster, slurm_cluster
from tests.support import events_of, fsft, only_run, steps_in, write_tiny_recipe

pytestmark = pytest.mark.slow

TWO = ("--set", "hardware.nodes=2", "--set", "hardware.devices_per_node=1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SlurmCluster]:
    folder = tmp_path / "slurm"
    folder.mkdir()
    write_tiny_recipe(tmp_path)
    with slurm_cluster(folder) as made:
        yield made


def submit(cluster: SlurmCluster, folder: Path, *options: str) -> str:
    """Send the exported file to the queue; returns the number of the job."""
    done = fsft("export", "slurm", "tiny.toml", *TWO, *options, "--out", "job.sh", cwd=folder)
    assert done.returncode == 0, done.stderr
    path = f"PATH={folder / 'bin'}:{os.environ['PATH']}"
    (folder / "bin").mkdir()
    shim = folder / "bin" / "fsft"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m fsft "$@"\n')
    shim.chmod(0o755)
    return cluster.call("env", path, "sbatch", "--parsable", "job.sh", cwd=folder).strip()


def state_of(cluster: SlurmCluster, job: str) -> str:
    line = cluster.call("scontrol", "show", "job", "-o", job)
    return next(part for part in line.split() if part.startswith("JobState=")).partition("=")[2]


def wait_for_state(cluster: SlurmCluster, job: str, wanted: str, within: float = 180) -> None:
    deadline = time.monotonic() + within
    state = ""
    while time.monotonic() < deadline:
        state = state_of(cluster, job)
        if state == wanted:
            return
        time.sleep(0.5)
    raise AssertionError(f"the job is {state}")


def test_the_exported_job_trains_on_two_nodes_to_its_end(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path)
    try:
        wait_for_state(cluster, job, "COMPLETED")
    except AssertionError:
        print(*(path.read_text() for path in tmp_path.glob("*.log")))
        raise
    run = only_run(tmp_path)
    assert [step.step for step in steps_in(run)] == [1, 2, 3, 4, 5, 6]
    started = next(event for event in events_of(run) if isinstance(event, TrainStarted))
    assert started.num_processes == 2


def test_a_job_that_is_signalled_saves_requeues_itself_and_is_ready_to_go_on(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path, "--set", "budget.steps=3000")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = list(tmp_path.glob("runs/tiny-*/events.jsonl"))
        if runs and any(isinstance(event, Step) for event in events_of(runs[0].parent)):
            break
        time.sleep(0.2)
    cluster.call("scancel", "--batch", "--signal=USR1", job)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        line = cluster.call("scontrol", "show", "job", "-o", job)
        if "Restarts=1" in line:
            break
        time.sleep(0.5)
    log = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert "Restarts=1" in line, log
    assert "The same command resumes there" in log
    cluster.call("scancel", job)

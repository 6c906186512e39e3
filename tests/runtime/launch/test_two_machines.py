"""Training on two machines for real: network namespaces, sshd, a shared file system."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fsft.recipes.events import Step
from tests.runtime.launch.machines import FIRST, SECOND, TwoMachines, two_machines
from tests.support import (
    events_of,
    fsft_command,
    fsft_environment,
    only_run,
    steps_in,
    write_tiny_recipe,
)

pytestmark = pytest.mark.slow

TWO = ("--set", "hardware.nodes=2", "--set", "hardware.devices_per_node=1", "--until", "train")
LONG = (*TWO, "--set", "budget.steps=3000", "--set", "checkpoint.every=100000")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[TwoMachines]:
    folder = tmp_path / "machines"
    folder.mkdir()
    write_tiny_recipe(tmp_path)
    (tmp_path / "hosts").write_text(f"{FIRST} slots=1\n{SECOND} slots=1\n")
    with two_machines(folder) as made:
        yield made


def start(
    machines: TwoMachines, index: int, *options: str, folder: Path
) -> "subprocess.Popen[str]":
    path = f"{machines.folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.Popen(
        machines.on(index, *fsft_command("run", "tiny.toml", *options)),
        cwd=folder,
        env=fsft_environment({"PATH": path}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_torchrun(
    machines: TwoMachines, *options: str, folder: Path
) -> list["subprocess.Popen[str]"]:
    launcher = ("--launcher", "torchrun", "--rdzv-endpoint", f"{FIRST}:29611", "--node-rank")
    return [
        start(machines, index, *options, *launcher, str(index), folder=folder) for index in (0, 1)
    ]


def ended(process: "subprocess.Popen[str]", within: float = 120) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=within)
    return process.returncode, stderr


def wait_for_step(folder: Path, number: int) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in folder.glob("runs/tiny-*"):
            if (run / "events.jsonl").exists() and any(
                isinstance(event, Step) and event.step >= number for event in events_of(run)
            ):
                return run
        time.sleep(0.1)
    raise AssertionError("training did not come that far in time")


def workers_of(run: Path, rank: int) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter()
        if process.is_running()
        and "fsft.runtime.train" in _command(process)
        and str(run.resolve()) in _command(process)
        and process.environ().get("RANK") == str(rank)
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_ssh_starts_both_machines_from_the_first(machines: TwoMachines, tmp_path: Path) -> None:
    process = start(machines, 0, *TWO, "--launcher", "ssh", "--hostfile", "hosts", folder=tmp_path)
    code, stderr = ended(process)
    assert code == 0, stderr
    assert [step.step for step in steps_in(only_run(tmp_path))] == [1, 2, 3, 4, 5, 6]
    assert not list((only_run(tmp_path) / "signs").glob("node-*"))


def test_a_machine_out_of_reach_is_named_before_the_start(
    machines: TwoMachines, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text(f"{FIRST} slots=1\n10.77.0.9 slots=1\n")
    process = start(machines, 0, *TWO, "--launcher", "ssh", "--hostfile", "hosts", folder=tmp_path)
    code, stderr = ended(process)
    assert code == 3
    assert "10.77.0.9: cannot be reached by ssh" in stderr


def test_the_same_command_on_each_machine_trains_together(
    machines: TwoMachines, tmp_path: Path
) -> None:
    results = [ended(process) for process in by_torchrun(machines, *TWO, folder=tmp_path)]
    assert [code for code, _ in results] == [0, 0], results
    assert [step.step for step in steps_in(only_run(tmp_path))] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_both_machines_with_its_name(
    machines: TwoMachines, tmp_path: Path, rank: int
) -> None:
    processes = by_torchrun(machines, *LONG, folder=tmp_path)
    run = wait_for_step(tmp_path, 5)
    (victim,) = workers_of(run, rank)
    victim.kill()
    results = [ended(process, within=30) for process in processes]
    assert [code for code, _ in results] == [1, 1], results
    assert all(f"process {rank} was killed (SIGKILL)" in stderr for _, stderr in results)


def test_a_machine_that_loses_its_network_and_is_gone_ends_the_other(
    machines: TwoMachines, tmp_path: Path
) -> None:
    processes = by_torchrun(machines, *LONG, folder=tmp_path)
    wait_for_step(tmp_path, 5)
    machines.cut()
    second = psutil.Process(processes[1].pid)
    for process in [second, *second.children(recursive=True)]:
        process.kill()
    began = time.monotonic()
    code, stderr = ended(processes[0], within=45)
    assert code == 1
    assert "machine 1 has given no sign of life" in stderr
    assert time.monotonic() - began < 45
    processes[1].communicate()


def test_a_stopped_process_is_named_as_the_one_behind_and_stacks_are_kept(
    machines: TwoMachines, tmp_path: Path
) -> None:
    processes = by_torchrun(machines, *LONG, "--step-timeout", "5", folder=tmp_path)
    run = wait_for_step(tmp_path, 5)
    (victim,) = workers_of(run, 1)
    victim.suspend()
    results = [ended(process, within=60) for process in processes]
    assert [code for code, _ in results] == [1, 1], results
    assert all("training hangs" in stderr for _, stderr in results)
    assert all("process 1 is behind" in stderr for _, stderr in results), results
    assert "most recent call first" in (run / "logs" / "rank-0.log").read_text()

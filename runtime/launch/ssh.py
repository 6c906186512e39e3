"""Several machines from the first of them, by ssh; all see the run directory."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fsft.recipes.problems import Problem
from fsft.runtime.launch.hostfile import Host
from fsft.runtime.launch.network import is_this_machine
from fsft.runtime.launch.node import Job, node_command

_SSH = (
    *("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
_NOT_CONNECTED = 255
_CARRIED = ("NCCL_", "GLOO_", "TORCH_", "UCX_", "HF_", "PYTHON", "OMP_")
"""Variables that other machines are to have too begin with one of these."""


def ssh_commands(
    job: Job, hosts: Sequence[Host], port: int, folder: Path, environment: Mapping[str, str]
) -> list[list[str]]:
    """The command of each machine, to be started on the first of them, in `folder` everywhere."""
    master = (hosts[0].name, port)
    first, *others = [node_command(job, master=master, node_rank=i) for i in range(len(hosts))]
    return [
        first,
        *(
            [*_SSH, host.name, remote_line(command, folder, environment)]
            for host, command in zip(hosts[1:], others, strict=True)
        ),
    ]


def remote_line(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """A shell line that does a command in a folder with the variables that matter."""
    carried = [f"{k}={v}" for k, v in sorted(environment.items()) if k.startswith(_CARRIED)]
    return f"cd {shlex.quote(str(folder))} && exec {shlex.join(['env', *carried, *command])}"


def ssh_problems(
    hosts: Sequence[Host], runs: Path, folder: Path, environment: Mapping[str, str]
) -> list[Problem]:
    """Why training cannot be started on the machines: tries each, all at once."""
    problems = []
    if not is_this_machine(hosts[0].name):
        problems.append(
            Problem(
                file=hosts[0].name,
                reason="is the first of the hostfile, and is not this machine.",
                example=f"start fsft on {hosts[0].name}, or put this machine first",
            )
        )
    if len(hosts) == 1:
        return problems
    runs.mkdir(parents=True, exist_ok=True)
    line = remote_line(
        [sys.executable, "-c", _PROBE.format(runs=str(runs.resolve()))], folder, environment
    )
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = pool.map(lambda host: _problem(host, line, runs), hosts[1:])
    return [*problems, *filter(None, answers)]


_PROBE = "import os, sys, fsft; sys.exit(0 if os.path.isdir({runs!r}) else 4)"


def _problem(host: Host, line: str, runs: Path) -> Problem | None:
    try:
        done = subprocess.run(
            [*_SSH, host.name, line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        return Problem(file="ssh", reason="is not installed.", example="install openssh-client")
    except subprocess.TimeoutExpired:
        return Problem(file=host.name, reason="did not answer ssh within 60 s.")
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    if done.returncode == _NOT_CONNECTED:
        example = f"make `ssh {host.name} true` work without a password"
        return Problem(file=host.name, reason=f"cannot be reached by ssh: {said}.", example=example)
    if done.returncode == 4:
        reason = f"does not see {runs.resolve()}."
        example = "--runs with a folder on a file system that all machines share"
        return Problem(file=host.name, reason=reason, example=example)
    example = f"install the same fsft at {sys.executable} there"
    return Problem(file=host.name, reason=f"cannot start fsft: {said}.", example=example)

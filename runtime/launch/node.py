"""The command that trains on one machine, whatever starts it there."""

import sys
from dataclasses import dataclass
from pathlib import Path

from fsft.runtime.hardware import Devices


@dataclass(frozen=True)
class Job:
    """What all machines are told alike."""

    run: Path
    """The run directory, absolute."""
    devices: Devices
    step_timeout: float | None = None


def node_command(
    job: Job, *, master: tuple[str, int] | None = None, node_rank: int | None = None
) -> list[str]:
    """The command for one machine.

    `master` is the host and port where the machines meet, None for a machine alone. Without
    `node_rank` the machine asks Slurm for it.
    """
    command = [sys.executable, "-m", "fsft.runtime.launch.agent", str(job.run)]
    command += [job.devices.accelerator, "--nodes", str(job.devices.nodes)]
    command += ["--devices", str(job.devices.per_node)]
    if master is not None:
        command += ["--master", f"{master[0]}:{master[1]}"]
    if node_rank is not None:
        command += ["--node-rank", str(node_rank)]
    if job.step_timeout is not None:
        command += ["--step-timeout", str(job.step_timeout)]
    return command

"""How training is started: what a command line or a scheduler says, and a recipe does not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fsft.recipes.problems import Problem

Launcher = Literal["local", "torchrun", "ssh", "slurm"]
DEFAULT_PORT = 29500
"""The port that torchrun listens on, where none is named."""


@dataclass(frozen=True)
class Launching:
    """Which launcher starts the processes, and what it needs to know."""

    launcher: Launcher = "local"
    hostfile: Path | None = None
    endpoint: str = ""
    """HOST or HOST:PORT of the first machine, for torchrun."""
    node_rank: int | None = None
    """Which machine this one is, from 0, for torchrun."""
    step_timeout: float | None = None
    """Seconds after which a step that does not end fails the run; None follows the median."""

    @property
    def only_joins(self) -> bool:
        """Whether this machine takes part in training alone: another one does all other stages."""
        return self.launcher == "torchrun" and bool(self.node_rank)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the endpoint."""
        host, _, port = self.endpoint.rpartition(":")
        return (host, int(port)) if host else (port, DEFAULT_PORT)


LOCAL = Launching()
"""All processes on this machine."""


def option_problems(options: Launching, nodes: int) -> list[Problem]:
    """What is missing or contradicts itself in the options, for a recipe of `nodes` machines."""
    launcher = options.launcher
    if launcher == "local" and nodes > 1:
        return [
            Problem(
                key="hardware.nodes",
                reason=f"{nodes} machines need a launcher that starts processes on each.",
                example="--launcher ssh --hostfile hosts, --launcher torchrun, --launcher slurm",
            )
        ]
    problems = []
    if launcher == "ssh" and options.hostfile is None:
        reason = "is missing: --launcher ssh reads the machines from it."
        problems.append(Problem(file="--hostfile", reason=reason, example="--hostfile hosts"))
    if launcher != "ssh" and options.hostfile is not None:
        problems.append(Problem(file="--hostfile", reason="is read by --launcher ssh alone."))
    if launcher == "torchrun":
        problems += _torchrun_problems(options, nodes)
    return problems


def _torchrun_problems(options: Launching, nodes: int) -> list[Problem]:
    problems = []
    if not options.endpoint:
        problems.append(
            Problem(
                file="--rdzv-endpoint",
                reason="is missing, and MASTER_ADDR is not set.",
                example=f"--rdzv-endpoint first-machine:{DEFAULT_PORT}",
            )
        )
    else:
        host, _, port = options.endpoint.rpartition(":")
        if host and not (port.isdecimal() and 0 < int(port) < 65536):
            reason = f"`{options.endpoint}` is not HOST:PORT."
            problems.append(Problem(file="--rdzv-endpoint", reason=reason))
    if options.node_rank is None:
        problems.append(
            Problem(
                file="--node-rank",
                reason="is missing, and NODE_RANK is not set.",
                example="--node-rank 0 on the first machine, 1 on the second",
            )
        )
    elif options.node_rank >= nodes:
        problems.append(
            Problem(
                file="--node-rank",
                reason=f"{options.node_rank} is not one of the recipe's {nodes} machines.",
                example=f"hardware.nodes = {options.node_rank + 1}, or a rank below {nodes}",
            )
        )
    return problems

"""Several machines inside a Slurm allocation: srun starts one task a machine."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from fsft.recipes.problems import Problem, RunFailed
from fsft.runtime.launch.node import Job, node_command

_LOWEST_PORT = 20000
_NUM_PORTS = 10000


def slurm_problems(environment: Mapping[str, str], nodes: int) -> list[Problem]:
    """Why srun cannot start training here."""
    if "SLURM_JOB_ID" not in environment:
        return [
            Problem(
                file="--launcher slurm",
                reason="needs a Slurm allocation, and SLURM_JOB_ID is not set.",
                example=f"salloc --nodes={nodes}, or fsft export slurm RECIPE | sbatch",
            )
        ]
    problems = []
    given = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    if given < nodes:
        problems.append(
            Problem(
                key="hardware.nodes",
                reason=f"{nodes} machines are asked for, the allocation has {given}.",
                example=f"sbatch --nodes={nodes}",
            )
        )
    problems += [
        Problem(file=name, reason="is not installed on this machine.")
        for name in ("srun", "scontrol")
        if shutil.which(name) is None
    ]
    return problems


def srun_command(job: Job, hosts: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command that trains on `hosts`; each task takes its rank from SLURM_PROCID."""
    nodes = len(hosts)
    command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    command += [f"--nodelist={','.join(hosts)}", "--cpu-bind=none", "--mem=0"]
    cores = environment.get("SLURM_CPUS_ON_NODE")
    if cores:
        # A step gets one core a task unless it asks for more.
        command.append(f"--cpus-per-task={cores}")
    # Each task reports by itself what went wrong; srun is not to end the others meanwhile.
    command.append("--kill-on-bad-exit=0")
    return command + node_command(job, master=(hosts[0], port_of(environment)))


def port_of(environment: Mapping[str, str]) -> int:
    """A port that follows from the job, since the first machine need not be this one."""
    return _LOWEST_PORT + int(environment["SLURM_JOB_ID"]) % _NUM_PORTS


def allocated_hosts(environment: Mapping[str, str], nodes: int) -> list[str]:
    """The first machines of the allocation; raises RunFailed where Slurm does not say."""
    done = subprocess.run(
        ["scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunFailed(f"scontrol cannot name the machines: {done.stderr.strip()}")
    return done.stdout.split()[:nodes]

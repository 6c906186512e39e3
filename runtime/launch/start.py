"""Which commands to start for a launcher, and what must be in order before."""

import os
from pathlib import Path

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Hardware
from fsft.runtime.hardware import find_devices
from fsft.runtime.launch.hostfile import Host, read_hostfile
from fsft.runtime.launch.network import free_port, port_problem
from fsft.runtime.launch.node import Job, node_command
from fsft.runtime.launch.options import Launching, option_problems
from fsft.runtime.launch.slurm import allocated_hosts, slurm_problems, srun_command
from fsft.runtime.launch.ssh import ssh_commands, ssh_problems


def launch_problems(options: Launching, hardware: Hardware, runs: Path) -> list[Problem]:
    """Everything that would keep the launcher from starting; asks ports and machines."""
    problems = option_problems(options, hardware.nodes)
    if problems:
        return problems
    if options.launcher == "torchrun" and options.node_rank == 0:
        taken = port_problem(options.address[1])
        return [taken] if taken else []
    if options.launcher == "slurm":
        return slurm_problems(os.environ, hardware.nodes)
    if options.launcher == "ssh":
        try:
            hosts = _hosts(options, hardware)
        except Refused as error:
            return list(error.problems)
        return ssh_problems(hosts, runs, Path.cwd(), os.environ)
    return []


def launch_commands(options: Launching, hardware: Hardware, run: Path) -> list[list[str]]:
    """The commands to start on this machine, which together train on all machines."""
    job = Job(run.resolve(), find_devices(hardware), options.step_timeout)
    if options.launcher == "torchrun":
        return [node_command(job, master=options.address, node_rank=options.node_rank)]
    if options.launcher == "ssh":
        hosts = _hosts(options, hardware)
        return ssh_commands(job, hosts, free_port(), Path.cwd(), os.environ)
    if options.launcher == "slurm":
        hosts_given = allocated_hosts(os.environ, hardware.nodes)
        return [srun_command(job, hosts_given, os.environ)]
    return [node_command(job, node_rank=0)]


def _hosts(options: Launching, hardware: Hardware) -> list[Host]:
    if options.hostfile is None:
        raise ValueError("the ssh launcher was let through without a hostfile")
    per_node = find_devices(hardware).per_node
    return read_hostfile(options.hostfile, nodes=hardware.nodes, devices_per_node=per_node)

"""Whether a layout fits: on the device and in host memory."""

from typing import Literal

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.memory import Memory
from fsft.recipes.planner.ranges import memory_range

GIB = 2**30

Fit = Literal["yes", "maybe", "no"]


def fits(job: Job, memory: Memory, cluster: Cluster) -> Fit:
    """The answer: "yes" holds at the upper end of the error range, "no" at its lower end."""
    room = cluster.accelerator.memory
    needed = memory_range(memory.device_total, job.style.family)
    if needed.low > room:
        return "no"
    if cluster.host_memory is not None and host_bytes(memory, cluster) > cluster.host_memory:
        return "no"
    return "yes" if needed.high <= room else "maybe"


def why_not(job: Job, memory: Memory, cluster: Cluster) -> str:
    """One clause on what is too small for a layout that does not surely fit."""
    room = cluster.accelerator.memory
    low, expected, high = memory_range(memory.device_total, job.style.family)
    if low <= room and cluster.host_memory is not None:
        host = host_bytes(memory, cluster)
        if host > cluster.host_memory:
            return (
                f"needs {host / GIB:.0f} GiB of host memory a node, there are "
                f"{cluster.host_memory / GIB:.0f}"
            )
    return (
        f"needs {low / GIB:.1f} to {high / GIB:.1f} GiB of {room / GIB:.1f} "
        f"({memory.peak.name}, expected {expected / GIB:.1f})"
    )


def host_bytes(memory: Memory, cluster: Cluster) -> float:
    """Host memory that a node needs at most."""
    together = max(memory.host, memory.host_loading) * cluster.devices_per_node
    return max(together, memory.host_converting)

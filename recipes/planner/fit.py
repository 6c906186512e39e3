"""Whether a layout fits: on the device and in host memory."""

from typing import Literal

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.memory import Memory
from fsft.recipes.planner.ranges import Range, memory_range

GIB = 2**30

Fit = Literal["yes", "maybe", "no"]


def verdict(job: Job, memory: Memory, cluster: Cluster) -> tuple[Fit, str]:
    """Whether the layout fits, and one clause on what is too small where it does not surely fit.

    "yes" holds at the upper end of the error range, "no" at its lower end.
    """
    room = cluster.accelerator.memory
    needed = memory_range(memory.device_total, job.style.family)
    if needed.low > room:
        return "no", _too_large(memory, needed, room)
    if cluster.host_memory is not None:
        host = max(memory.host, memory.host_loading) * cluster.devices_per_node
        host = max(host, memory.host_converting)
        if host > cluster.host_memory:
            return "no", (
                f"needs {host / GIB:.0f} GiB of host memory a node, there are "
                f"{cluster.host_memory / GIB:.0f}"
            )
    return ("yes", "") if needed.high <= room else ("maybe", _too_large(memory, needed, room))


def _too_large(memory: Memory, needed: Range, room: float) -> str:
    return (
        f"needs {needed.low / GIB:.1f} to {needed.high / GIB:.1f} GiB of {room / GIB:.1f} "
        f"({memory.peak.name}, expected {needed.expected / GIB:.1f})"
    )

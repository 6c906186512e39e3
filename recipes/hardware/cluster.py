"""Machines that work together."""

import math
from dataclasses import dataclass

from fsft.recipes.hardware.accelerators import Accelerator
from fsft.recipes.problems import Problem, RecipeError

MOST_DEVICES = 10_000_000
DEFAULT_LINK = 25e9
"""Bytes per second a device between nodes of accelerators that have a fast link: HDR InfiniBand."""
FAST_LINK = 50e9
"""The same for those with NVLink 4 and faster: NDR InfiniBand."""
NVLINK_4 = 450e9
SLOW_LINK = 1.25e9
"""The same where devices are joined by PCIe alone: 10 Gb/s Ethernet."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Equal nodes of equal devices. Bandwidths in bytes per second, one direction, per device.

    `host_memory` in bytes per node; `price_per_device_hour` in any currency. None means unknown.
    """

    accelerator: Accelerator
    num_nodes: int
    devices_per_node: int
    inter_bandwidth: float
    host_memory: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None
    price_per_device_hour: float | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def num_devices(self) -> int:
        """All devices."""
        return self.num_nodes * self.devices_per_node

    @property
    def has_known_speed(self) -> bool:
        """Enough is known of the device to say how long a step takes."""
        device = self.accelerator
        return device.matmul_tflops("bfloat16") is not None and bool(device.memory_bandwidth)

    @property
    def intra_bandwidth(self) -> float | None:
        """Between devices of a node."""
        return self.accelerator.link_bandwidth


def make_cluster(
    accelerator: Accelerator,
    *,
    nodes: int = 1,
    devices_per_node: int = 1,
    link: float | None = None,
    host_memory: float | None = None,
    disk_read: float | None = None,
    disk_write: float | None = None,
    price: float | None = None,
) -> Cluster:
    """A cluster, with what is not given taken from the accelerator or assumed, and said so.

    Raises RecipeError with everything that is wrong.
    """
    problems = [
        Problem(key=f"hardware.{key}", reason=f"{value} is not a number of {key.split('_')[0]}.")
        for key, value in (("nodes", nodes), ("devices_per_node", devices_per_node))
        if value < 1
    ]
    if not problems and nodes * devices_per_node > MOST_DEVICES:
        problems.append(
            Problem(
                key="hardware",
                reason=f"{nodes * devices_per_node:,} devices are more than there are.",
            )
        )
    for key, figure in (("host_memory", host_memory), ("price", price), ("link", link)):
        if figure is not None and not 0 < figure < math.inf:
            problems.append(Problem(key=f"hardware.{key}", reason=f"{figure} must be positive."))
    if problems:
        raise RecipeError(*problems)
    assumptions = []
    if link is None:
        within, pcie = accelerator.link_bandwidth, accelerator.pcie_bandwidth
        link = SLOW_LINK
        if within and pcie and within > pcie:
            link = FAST_LINK if within >= NVLINK_4 else DEFAULT_LINK
        if nodes > 1:
            assumptions.append(f"{link / 1e9:g} GB/s a device between nodes, since none is given")
    if accelerator.note:
        assumptions.append(f"{accelerator.name}: {accelerator.note}")
    return Cluster(
        accelerator=accelerator,
        num_nodes=nodes,
        devices_per_node=devices_per_node,
        inter_bandwidth=link,
        host_memory=host_memory,
        disk_read=disk_read,
        disk_write=disk_write,
        price_per_device_hour=price,
        assumptions=tuple(assumptions),
    )

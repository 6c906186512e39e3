"""Memory of one device."""

import torch

from fsft.runtime.calibrate.device import free_memory
from fsft.runtime.calibrate.timing import seconds_of_one

CPU_BYTES = 2**28
ACCELERATOR_BYTES = 2**32
"""Far more than any cache holds."""


def copy_bandwidth(device: torch.device, seconds: float) -> float:
    """Bytes per second that a copy within the device's memory reads and writes, both counted."""
    most = CPU_BYTES if device.type == "cpu" else ACCELERATOR_BYTES
    size = min(most, free_memory(device) // 4)
    source = torch.ones(size, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * size / seconds_of_one(lambda: target.copy_(source), device, seconds)

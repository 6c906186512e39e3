"""All measurements of one machine, one after another."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fsft.recipes.hardware.calibration import Calibration
from fsft.recipes.hardware.detect import CPU_PROCESSES
from fsft.runtime.calibrate.device import device_name, find_device, num_devices
from fsft.runtime.calibrate.disk import measure_disk
from fsft.runtime.calibrate.links import all_reduce_bandwidth
from fsft.runtime.calibrate.matmul import matmul_tflops
from fsft.runtime.calibrate.memory import copy_bandwidth


class Step(NamedTuple):
    """A measurement that is about to begin, for those who watch."""

    name: str


def measure(folder: Path, seconds: float) -> Iterator[Step | Calibration]:
    """Each measurement before it begins, and at last the calibration of this machine's device.

    Without an accelerator that is the processor, of which one process has its part of the cores.
    Each measurement takes about `seconds`; the disk is that of `folder`, which must exist. Raises
    OSError where it cannot be written to, and RuntimeError where a device fails.
    """
    device = find_device()
    number = num_devices(device)
    found: dict[str, Any] = {}
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, threads // CPU_PROCESSES))
    try:
        matmul = {}
        for dtype in (torch.bfloat16, torch.float32):
            label = str(dtype).removeprefix("torch.")
            yield Step(f"matrix products in {label}")
            matmul[label] = matmul_tflops(device, dtype, seconds)
        yield Step("memory")
        found["memory_bandwidth"] = copy_bandwidth(device, seconds)
    finally:
        torch.set_num_threads(threads)
    if number > 1:
        what = "processes" if device.type == "cpu" else "devices"
        yield Step(f"an all-reduce between {number} {what}")
        found["all_reduce_bandwidth"] = all_reduce_bandwidth(device.type, number, seconds)
    yield Step("the disk")
    found["disk_write"], found["disk_read"] = measure_disk(folder, seconds)
    yield Calibration(
        host=platform.node(),
        device=device_name(device),
        date=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
        matmul_tflops=matmul,
        **found,
    )

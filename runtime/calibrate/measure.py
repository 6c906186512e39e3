"""All measurements of one machine, one after another."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fsft.recipes.hardware.calibration import Calibration
from fsft.recipes.hardware.detect import CPU_PROCESSES
from fsft.runtime.calibrate.disk import measure_disk
from fsft.runtime.calibrate.links import all_reduce_bandwidth
from fsft.runtime.calibrate.speed import copy_bandwidth, matmul_tflops


class Step(NamedTuple):
    """A measurement that is about to begin, for those who watch."""

    name: str


def measure(name: str, folder: Path, seconds: float) -> Iterator[Step | Calibration]:
    """Each measurement before it begins, and at last the calibration of the device `name`.

    The devices are those of torch: CUDA if there is any, else the processor, of which one process
    has its part of the cores. Each measurement takes about `seconds`; the disk is that of `folder`,
    which must exist. Raises OSError where it cannot be written to.
    """
    on_cuda = torch.cuda.is_available()
    device = torch.device("cuda" if on_cuda else "cpu")
    num_devices = torch.cuda.device_count() if on_cuda else CPU_PROCESSES
    found: dict[str, Any] = {}
    threads = torch.get_num_threads()
    if not on_cuda:
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
    if num_devices > 1:
        yield Step(f"all-reduce between {num_devices}")
        found["all_reduce_bandwidth"] = all_reduce_bandwidth(device.type, num_devices, seconds)
    yield Step("disk")
    found["disk_write"], found["disk_read"] = measure_disk(folder, seconds)
    yield Calibration(
        host=platform.node(),
        device=name,
        date=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
        matmul_tflops=matmul,
        **found,
    )

"""Arithmetic and memory of one device."""

import time
from collections.abc import Callable
from functools import partial

import torch

CPU_SIZES = (512, 1024)
GPU_SIZES = (4096, 8192, 16384)
CPU_COPY_BYTES = 2**28
GPU_COPY_BYTES = 2**32
"""Far more than any cache holds."""


def matmul_tflops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """TFLOPS of square products, sustained over `seconds` in all; the best of several sizes."""
    sizes = CPU_SIZES if device.type == "cpu" else GPU_SIZES
    best = 0.0
    for size in sizes:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = partial(torch.mm, left, right, out=torch.empty_like(left))
        each = _seconds_each(product, device, seconds / len(sizes))
        best = max(best, 2 * size**3 / each / 1e12)
    return best


def copy_bandwidth(device: torch.device, seconds: float) -> float:
    """Bytes per second that a copy within the device's memory reads and writes."""
    size = CPU_COPY_BYTES if device.type == "cpu" else GPU_COPY_BYTES
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / _seconds_each(lambda: target.copy_(source), device, seconds)


def _seconds_each(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of one `run`, from as many as fit into `seconds`; the first warms up."""
    run()
    _wait(device)
    start, number = time.perf_counter(), 0
    while number == 0 or time.perf_counter() - start < seconds:
        run()
        number += 1
        if number % 8 == 0 or device.type == "cpu":
            _wait(device)
    _wait(device)
    return (time.perf_counter() - start) / number


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

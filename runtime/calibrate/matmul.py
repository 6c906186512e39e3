"""Arithmetic of one device."""

from functools import partial

import torch

from fsft.runtime.calibrate.device import free_memory
from fsft.runtime.calibrate.timing import seconds_of_one

CPU_SIZES = (512, 1024)
ACCELERATOR_SIZES = (4096, 8192, 16384)


def matmul_tflops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """TFLOPS of square products: the best of several sizes, in `seconds` for all of them."""
    sizes = _sizes(device, dtype)
    return max(_tflops(size, device, dtype, seconds / len(sizes)) for size in sizes)


def _tflops(size: int, device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = partial(torch.mm, left, right, out=torch.empty_like(left))
    return 2 * size**3 / seconds_of_one(product, device, seconds) / 1e12


def _sizes(device: torch.device, dtype: torch.dtype) -> tuple[int, ...]:
    """Those whose three matrices fit beside whatever else uses the device."""
    if device.type == "cpu":
        return CPU_SIZES
    room = free_memory(device) // 2
    fitting = [size for size in ACCELERATOR_SIZES if 3 * size**2 * dtype.itemsize <= room]
    return tuple(fitting) or ACCELERATOR_SIZES[:1]

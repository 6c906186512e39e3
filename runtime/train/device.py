"""What DeepSpeed's accelerator layer does not say in one call: memory, and the matmul peak."""

import resource
import time

import torch


def peak_memory_bytes() -> int:
    """Peak memory until now: allocated on the device, or resident in this process on cpu."""
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    if accelerator.device_name() == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(accelerator.max_memory_allocated())


def matmul_flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """The measured peak of this process: square matrix products, the best of several rounds.

    A datasheet's peak is not reached by any product; this one is.
    """
    from deepspeed.accelerator import get_accelerator

    size = 1024 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    deadline = time.perf_counter() + 0.5
    while best == 0.0 or time.perf_counter() < deadline:
        start = time.perf_counter()
        torch.mm(left, right)
        get_accelerator().synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def device_label() -> str:
    """The device's name, for people."""
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    if accelerator.device_name() == "cpu":
        return "cpu"
    return torch.get_device_module(accelerator.device_name()).get_device_name()

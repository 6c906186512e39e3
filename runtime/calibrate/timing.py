"""How long something takes on a device."""

import statistics
import time
from collections.abc import Callable

import torch

from fsft.runtime.calibrate.device import wait

SAMPLE_SECONDS = 0.02
"""So long that reading the clock and waiting for the device do not count."""
FEWEST_SAMPLES = 3


def seconds_of_one(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of one `run`: the median of as many samples as fit into `seconds`, at least three."""
    # The first loads kernels and takes memory, which the second finds there.
    _seconds(run, device, 1)
    number = max(1, round(SAMPLE_SECONDS / _seconds(run, device, 1)))
    samples: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(samples) < FEWEST_SAMPLES or time.perf_counter() < deadline:
        samples.append(_seconds(run, device, number))
    return statistics.median(samples)


def _seconds(run: Callable[[], object], device: torch.device, number: int) -> float:
    """Seconds of one of `number` runs."""
    wait(device)
    start = time.perf_counter()
    for _ in range(number):
        run()
    wait(device)
    return (time.perf_counter() - start) / number

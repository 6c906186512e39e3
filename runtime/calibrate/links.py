"""The link between the devices of this machine."""

import queue
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException, start_processes

from fsft.runtime.calibrate.device import wait
from fsft.runtime.calibrate.timing import FEWEST_SAMPLES

CPU_BYTES = 2**24
ACCELERATOR_BYTES = 2**30
STARTUP_SECONDS = 120.0


def all_reduce_bandwidth(device_type: str, ranks: int, seconds: float) -> float:
    """Bytes per second on the wire of each of `ranks` devices in a large all-reduce.

    That is what collective benchmarks call bus bandwidth: size / time · 2 · (n − 1) / n. Raises
    RuntimeError where a process fails.
    """
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    with _interrupts_held():
        processes = start_processes(
            _rank,
            args=(ranks, _free_port(), device_type, seconds, answers),
            nprocs=ranks,
            join=False,
            daemon=True,
        )
    try:
        deadline = time.monotonic() + STARTUP_SECONDS + seconds
        while not processes.join(timeout=1.0):
            if time.monotonic() > deadline:
                raise RuntimeError("the processes did not come to an end")
        return float(answers.get(timeout=10))
    except ProcessException as error:
        raise RuntimeError(str(error).strip().splitlines()[-1]) from None
    except queue.Empty:
        raise RuntimeError("the processes gave no answer") from None
    finally:
        for process in processes.processes:
            process.kill()


def _rank(rank: int, ranks: int, port: int, device_type: str, seconds: float, answers: Any) -> None:
    device = torch.device(device_type) if device_type == "cpu" else torch.device(device_type, rank)
    if device_type != "cpu":
        torch.accelerator.set_device_index(rank)
    dist.init_process_group(
        dist.get_default_backend_for_device(device),
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=ranks,
    )
    size = CPU_BYTES if device_type == "cpu" else ACCELERATOR_BYTES
    data = torch.zeros(size // 4, device=device)
    _seconds_of_one(data)
    # All ranks run the same number, which the first decides.
    number = torch.tensor([max(FEWEST_SAMPLES, int(seconds / _seconds_of_one(data)))]).to(device)
    dist.broadcast(number, 0)
    each = statistics.median(_seconds_of_one(data) for _ in range(int(number)))
    if rank == 0:
        answers.put(size / each * 2 * (ranks - 1) / ranks)
    dist.barrier()
    dist.destroy_process_group()


def _seconds_of_one(data: torch.Tensor) -> float:
    wait(data.device)
    start = time.perf_counter()
    dist.all_reduce(data)
    wait(data.device)
    return time.perf_counter() - start


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, and print no traceback for it.

    Who starts them ends them; a mask is inherited where a handler is not.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

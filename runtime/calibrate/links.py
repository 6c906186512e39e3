"""The link between the devices of this machine."""

import queue
import socket
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.multiprocessing.spawn import start_processes

CPU_BYTES = 2**24
GPU_BYTES = 2**30
STARTUP_SECONDS = 120.0


def all_reduce_bandwidth(device_type: str, ranks: int, seconds: float) -> float:
    """Bytes per second on the wire of each of `ranks` devices in a large all-reduce.

    That is what collective benchmarks call bus bandwidth: size / time · 2 · (n − 1) / n. Raises
    RuntimeError where a process fails.
    """
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    processes = start_processes(
        _rank,
        args=(ranks, _free_port(), device_type, seconds, answers),
        nprocs=ranks,
        join=False,
    )
    deadline = time.monotonic() + STARTUP_SECONDS + seconds
    while not processes.join(timeout=1.0):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            raise RuntimeError("the processes that measure the link did not come to an end")
    try:
        return float(answers.get(timeout=10))
    except queue.Empty:
        raise RuntimeError("the processes that measure the link gave no answer") from None


def _rank(rank: int, ranks: int, port: int, device_type: str, seconds: float, answers: Any) -> None:
    is_cuda = device_type == "cuda"
    if is_cuda:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if is_cuda else "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=ranks,
    )
    size = GPU_BYTES if is_cuda else CPU_BYTES
    data = torch.zeros(size // 4, device=device_type)
    each = _seconds_of_one(data)
    # All ranks run the same number, which the first decides.
    number = torch.tensor([max(1, int(seconds / each))], device=device_type)
    dist.broadcast(number, 0)
    each = _seconds_of_one(data, int(number))
    if rank == 0:
        answers.put(size / each * 2 * (ranks - 1) / ranks)
    dist.barrier()
    dist.destroy_process_group()


def _seconds_of_one(data: torch.Tensor, number: int = 1) -> float:
    """Seconds of one all-reduce, from `number` after one to warm up."""
    dist.all_reduce(data)
    _wait(data)
    start = time.perf_counter()
    for _ in range(number):
        dist.all_reduce(data)
    _wait(data)
    return (time.perf_counter() - start) / number


def _wait(data: torch.Tensor) -> None:
    if data.is_cuda:
        torch.cuda.synchronize()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

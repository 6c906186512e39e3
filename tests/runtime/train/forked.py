"""The training program in forks of one process that has imported everything: seconds a run less."""

import multiprocessing
import multiprocessing.connection
import os
import socket
import sys
from pathlib import Path
from unittest.mock import patch

from fsft.runtime.run_directory import RunDirectory

IMPORTED = ("torch", "deepspeed", "transformers", "fsft.runtime.train.loop")
SECONDS = 300
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([*IMPORTED, __name__])


def train_in_forks(run: RunDirectory, num_processes: int) -> bool:
    """Train a run as torchrun would; whether all processes ended well."""
    port = _free_port()
    # The server of forks keeps the environment that it is started in.
    with patch.dict(os.environ, {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}):
        processes = [
            _forks.Process(target=_train, args=(run.path, rank, num_processes, port))
            for rank in range(num_processes)
        ]
        for process in processes:
            process.start()
    running = {process.sentinel: process for process in processes}
    seconds = SECONDS
    while running and (ended := multiprocessing.connection.wait([*running], seconds)):
        if any(running.pop(sentinel).exitcode for sentinel in ended):
            # The others wait for it in vain; what went wrong in them too is told soon.
            seconds = 5
    for process in processes:
        process.kill()
        process.join()
    return all(process.exitcode == 0 for process in processes)


def _train(path: Path, rank: int, num_processes: int, port: int) -> None:
    from fsft.runtime.train.__main__ import main

    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    sys.argv = ["fsft.runtime.train", str(path), "cpu"]
    main()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

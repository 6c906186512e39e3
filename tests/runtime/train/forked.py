"""The training program in forks of one process that has imported everything: seconds a run less.

That process is this module, run as a program: it takes a request a line, and answers with a line.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from fsft.runtime.run_directory import RunDirectory

IMPORTED = ("torch", "deepspeed", "transformers", "fsft.runtime.train.loop")
SECONDS = 300.0
SECONDS_AFTER_FAILURE = 5.0
"""For the others to tell what went wrong in them; they wait in vain for the one that failed."""


def train_in_forks(run: RunDirectory, num_processes: int) -> bool:
    """Train a run as torchrun would; whether all processes ended well."""
    server = _server()
    assert server.stdin
    assert server.stdout
    server.stdin.write(json.dumps([str(run.path), num_processes]) + "\n")
    server.stdin.flush()
    codes: list[int] = json.loads(server.stdout.readline())
    return not any(codes)


@lru_cache
def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        env={
            **os.environ,
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": ":".join(filter(None, sys.path)),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    """Serve until there are no more requests."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Libraries print while they are imported.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for name in IMPORTED:
        import_module(name)
    for request in sys.stdin:
        path, num_processes = json.loads(request)
        print(json.dumps(_codes(Path(path), num_processes)), file=answers, flush=True)


def _codes(path: Path, num_processes: int) -> list[int]:
    """Train; the exit code of each process, of those that had to be killed too."""
    port = _free_port()
    running = {_forked(path, rank, num_processes, port) for rank in range(num_processes)}
    codes = []
    deadline = time.monotonic() + SECONDS
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            running.discard(pid)
            codes.append(os.waitstatus_to_exitcode(status))
            if codes[-1]:
                deadline = min(deadline, time.monotonic() + SECONDS_AFTER_FAILURE)
            continue
        if time.monotonic() > deadline:
            for each in running:
                os.kill(each, signal.SIGKILL)
            deadline += SECONDS
        time.sleep(0.02)
    return codes


def _forked(path: Path, rank: int, num_processes: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    from fsft.runtime.train.__main__ import main as train

    os.environ |= _place(rank, num_processes, port)
    sys.argv = ["fsft.runtime.train", str(path), "cpu"]
    try:
        train()
    finally:
        os._exit(1)


def _place(rank: int, num_processes: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()

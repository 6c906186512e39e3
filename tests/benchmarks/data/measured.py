"""A command with the time that it takes, and the memory of all its processes."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    peak_mib: float
    """The most memory of its processes together at any look; what they share counts once (PSS)."""


def run_measured(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end in `folder`. Raises SystemExit with its output where it fails."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    log = folder / "output.log"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        looks = _Looks(process.pid)
        code = process.wait()
        seconds = time.perf_counter() - start
    peak = looks.end()
    if code:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-4000:]}")
    return Cost(seconds, peak / 2**20)


class _Looks:
    """Looks at the memory of a process and its children until told to end."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak = pid, 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """The most bytes seen."""
        self._ending.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._ending.wait(SECONDS_BETWEEN_LOOKS):
            self._peak = max(self._peak, _held(self._pid))


def _held(pid: int) -> int:
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total

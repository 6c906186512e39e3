"""Host memory of processes together: each page counts once, shared by those that hold it (PSS)."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

INTERVAL = 0.02
"""Seconds between looks."""


def pss_bytes(pids: Sequence[int]) -> int:
    """Proportional set size of processes, summed."""
    return sum(_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids)


def _field(path: Path, name: str) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == name)


class Watch:
    """The highest sum in each phase, looked at in a thread of its own."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.phase = ""
        self._over = threading.Event()
        self.peaks: dict[str, int] = {}
        """Phase to bytes."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self, phase: str) -> None:
        """What is seen from now on belongs to `phase`."""
        self.phase = phase

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            phase, seen = self.phase, pss_bytes(self._pids)
            # What changed hands while it was looked at belongs to neither.
            if phase == self.phase:
                self.peaks[phase] = max(seen, self.peaks.get(phase, 0))
            time.sleep(INTERVAL)

"""Where a training process is, told once a second by a thread, at no cost to training."""

import faulthandler
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from fsft.runtime.launch.signs import SIGN_SECONDS, Place, write_place

STACK_SIGNAL = signal.SIGUSR2
"""Makes a training process write the stacks of all its threads into its log."""
_WAITING = ("/torch/distributed/", "/deepspeed/comm/")
"""Code that returns only when other processes have come as far."""


def write_stacks_on_signal() -> None:
    """To be called first: works also while the interpreter is held up in native code."""
    faulthandler.register(STACK_SIGNAL, file=sys.stderr, all_threads=True)


class Whereabouts:
    """What the training loop marks, and a thread tells the run directory."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._step, self._phase = 0, "loading"
        self._main = threading.main_thread().ident
        threading.Thread(target=self._tell, name="whereabouts", daemon=True).start()

    def mark(self, step: int, phase: str) -> None:
        """Remember that `phase` of `step` begins; see PHASES."""
        self._step, self._phase = step, phase

    def _tell(self) -> None:
        while True:
            frame = sys._current_frames().get(self._main or 0)
            place = Place(self._step, self._phase, is_waiting(frame))
            try:
                write_place(self._folder, self._rank, place)
            except OSError as error:
                print(f"where this process is could not be told: {error}", file=sys.stderr)
            time.sleep(SIGN_SECONDS)


def is_waiting(frame: FrameType | None) -> bool:
    """Whether a stack's innermost frames are those of a collective operation."""
    return frame is not None and any(part in frame.f_code.co_filename for part in _WAITING)

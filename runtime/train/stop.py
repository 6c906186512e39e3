"""Being asked to stop, by a signal to this process or by the stop file of the run."""

import signal
from pathlib import Path
from types import FrameType


class StopRequest:
    """Remembers SIGTERM and SIGUSR1, which a scheduler sends before it takes the machine away."""

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._remember)

    def asked(self) -> bool:
        """Whether a stop was asked for; cheap enough for each step."""
        return self._signalled or self._stop_file.exists()

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

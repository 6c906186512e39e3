"""Files of a checkpoint that are written while training goes on.

DeepSpeed's own decoupled engine copies nothing, and so makes the next optimizer step wait until all
is written. Here a copy in host memory is written instead.
"""

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

from fsft.runtime.train.publish import sync
from fsft.runtime.train.weights_only import weights_of


class LaterFiles(TorchCheckpointEngine):
    """Takes what DeepSpeed saves, to be written by `write`; copied, where training goes on."""

    def __init__(self, *, copied: bool, weights_only: bool = False) -> None:
        super().__init__()
        self._copied, self._weights_only = copied, weights_only
        self._files: list[tuple[Any, str]] = []

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        """Remember what one file is to hold."""
        if self._weights_only:
            state_dict = weights_of(state_dict)
        self._files.append((snapshot(state_dict, {}) if self._copied else state_dict, path))

    def write(self) -> None:
        """Write all files; each is on disk when it returns."""
        while self._files:
            state, path = self._files.pop()
            torch.save(state, path)
            sync(Path(path))


class Background:
    """One piece of work at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], object]) -> None:
        """Begin the work once the one before is done; raises what that one raised."""
        self.wait()
        self._thread = threading.Thread(target=self._do, args=(work,))
        self._thread.start()

    def wait(self) -> None:
        """Until the work is done; raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raises what the work raised, if it has failed already."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error


def snapshot(value: Any, copies: dict[Any, torch.Tensor]) -> Any:
    """A copy in host memory that nothing changes; tensors that share memory still share it."""
    if isinstance(value, torch.Tensor):
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype, value.device)
        if value.numel() == 0 or key not in copies:
            copies[key] = value.detach().to("cpu", copy=True)
        return copies[key]
    if isinstance(value, dict):
        same = copy.copy(value)
        for name, item in value.items():
            same[name] = snapshot(item, copies)
        return same
    if type(value) in (list, tuple):
        return type(value)(snapshot(item, copies) for item in value)
    return value

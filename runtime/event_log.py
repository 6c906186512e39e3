"""Writing events.jsonl."""

import io
from contextlib import suppress
from pathlib import Path

from fsft.recipes.events import Event


class EventLog:
    """Appends events; several processes may append to one file at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+", buffering=0)
        if not _ends_a_line(self._file):
            self._file.write(b"\n")

    def write(self, event: Event) -> None:
        """Append one line in a single system call, so that lines never mix."""
        self._file.write(event.model_dump_json().encode() + b"\n")

    def write_if_possible(self, event: Event) -> None:
        """Append one line where the disk still takes it.

        For the last words of a failure: on a full disk they are lost here, but the error that they
        tell of must still reach the console.
        """
        with suppress(OSError):
            self.write(event)


def _ends_a_line(file: io.FileIO) -> bool:
    """Whether the last write was whole; a full disk or a kill may have torn it."""
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"

"""Writing events.jsonl."""

from pathlib import Path

from fsft.recipes.events import Event


class EventLog:
    """Appends events; several processes may append to one file at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, event: Event) -> None:
        """Append one line in a single system call, so that lines never mix."""
        self._file.write(event.model_dump_json().encode() + b"\n")

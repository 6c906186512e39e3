"""Signs of life in the run directory, by which the machines of a run know of each other.

They are counters and not times, since the clocks of machines differ.
"""

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

SIGN_SECONDS = 1.0
"""Between two signs."""
PHASES = ("loading", "rows", "computing", "evaluating", "saving")
"""Where a process can be, in the order in which one step goes through them."""


@dataclass(frozen=True)
class Place:
    """Where a process is: a step, a phase of it, and whether it waits for other processes."""

    step: int = 0
    phase: str = "loading"
    is_waiting: bool = False

    @property
    def order(self) -> tuple[int, int, bool]:
        """Larger is further on; one that waits for others has done all that it can."""
        return self.step, PHASES.index(self.phase), self.is_waiting


def node_sign(folder: Path, node_rank: int) -> Path:
    """The file that a machine's agent counts up in."""
    return folder / f"node-{node_rank}"


def write_place(folder: Path, rank: int, place: Place) -> None:
    """Tell where a process is."""
    write_sign(folder / f"rank-{rank}.json", json.dumps(asdict(place)))


def read_places(folder: Path) -> dict[int, Place]:
    """Where the processes are, by rank; one that is just being written is left out."""
    places = {}
    for path in folder.glob("rank-*.json"):
        try:
            places[int(path.stem.removeprefix("rank-"))] = Place(**json.loads(path.read_text()))
        except (ValueError, FileNotFoundError):
            continue
    return places


def write_sign(path: Path, text: str) -> None:
    """Put text into a small file; a reader may see it half written, and looks again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def behind(places: dict[int, Place]) -> list[int]:
    """The ranks that the others wait for; none where all are at the same place."""
    if not places:
        return []
    least = min(place.order for place in places.values())
    ranks = sorted(rank for rank, place in places.items() if place.order == least)
    return [] if len(ranks) == len(places) > 1 else ranks


class Beat:
    """Counts up in a file until it is closed, and then takes the file away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="beat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say goodbye: a missing file is no machine that was lost."""
        self._closing.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _go_on(self) -> None:
        number = 0
        while not self._closing.is_set():
            number += 1
            write_sign(self._path, str(number))
            self._closing.wait(SIGN_SECONDS)

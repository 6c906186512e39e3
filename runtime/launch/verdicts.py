"""When a machine is lost and when a step hangs. Times are in seconds of any one clock."""

from collections import deque
from collections.abc import Mapping
from statistics import median

from fsft.recipes.events import CheckpointSaved, EvalLoss, Event, Step, TrainStarted
from fsft.runtime.launch.signs import Place, behind

LOST_SECONDS = 20.0
"""Without a sign of life of a machine before it counts as lost."""
TIMES_THE_MEDIAN = 20
LEAST_STEP_SECONDS = 300.0
"""A step may take this long in any case; a slow file system holds up many."""
OTHER_SECONDS = 1800.0
"""For what is no step: loading, the first step, eval loss, saving. Torch waits so for a peer."""
OTHER_PHASES = ("evaluating", "saving")
_REMEMBERED_STEPS = 50


class LostNodes:
    """Remembers when each machine's counter last moved."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float, bool]] = {}

    def look(self, counters: Mapping[str, str], now: float) -> list[str]:
        """The machines that were alive and have not counted for too long.

        One whose counter never moved is what an earlier run left behind; one that is gone has
        said goodbye.
        """
        lost = []
        for name, counter in counters.items():
            before, since, has_moved = self._seen.get(name, (counter, now, False))
            if counter != before:
                since, has_moved = now, True
            self._seen[name] = (counter, since, has_moved)
            if has_moved and now - since > LOST_SECONDS:
                lost.append(name)
        return lost


class StepClock:
    """Knows how long steps take, and since when nothing has happened."""

    def __init__(self, now: float, step_timeout: float | None) -> None:
        self._since = now
        self._step_timeout = step_timeout
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_STEPS)

    def hear(self, event: Event, now: float) -> None:
        """Take in an event of the run."""
        if isinstance(event, Step):
            self._durations.append(event.seconds)
        if isinstance(event, TrainStarted | Step | EvalLoss | CheckpointSaved):
            self._since = now

    def waited(self, now: float) -> float:
        """Since the last sign of progress."""
        return now - self._since

    @property
    def limit(self) -> float:
        """How long a step may take."""
        if not self._durations:
            return OTHER_SECONDS
        if self._step_timeout is not None:
            return self._step_timeout
        return max(LEAST_STEP_SECONDS, TIMES_THE_MEDIAN * median(self._durations))

    def is_overdue(self, now: float, places: Mapping[int, Place]) -> bool:
        """Whether it took too long; what is no step has a limit of its own."""
        is_other = any(place.phase in OTHER_PHASES for place in places.values())
        limit = max(self.limit, OTHER_SECONDS) if is_other else self.limit
        return self.waited(now) > limit


def lost_message(node: str) -> str:
    """What to do about a machine that is lost."""
    return (
        f"machine {node.removeprefix('node-')} has given no sign of life for {LOST_SECONDS:.0f} s: "
        "it, its network or the shared file system is down. The same command goes on from the "
        "last checkpoint."
    )


def hang_message(waited: float, places: dict[int, Place]) -> str:
    """Which process holds up the others, as far as can be told."""
    late = behind(places)
    if late:
        names = ", ".join(map(str, late[:8])) + (" and others" if len(late) > 8 else "")
        place = places[late[0]]
        who = f"process {names} is behind, at step {place.step} ({place.phase})"
    else:
        who = "all processes are at the same place"
    return (
        f"training hangs: no step has ended for {waited:.0f} s; {who}. What each was doing is at "
        "the end of its logs/rank-N.log. If steps may take so long, give --step-timeout SECONDS."
    )

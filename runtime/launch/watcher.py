"""A thread beside torchrun: when anything fails on any machine, all processes of this one end.

The machines know of each other through the run directory alone, whatever started them.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable

import psutil

from fsft.recipes.events import Event, EventReader, Failed, StageStarted
from fsft.runtime.event_log import EventLog
from fsft.runtime.launch.signs import SIGN_SECONDS, Beat, node_sign, read_places
from fsft.runtime.launch.verdicts import LostNodes, StepClock, hang_message, lost_message
from fsft.runtime.launch.whereabouts import STACK_SIGNAL
from fsft.runtime.run_directory import RunDirectory

_GRACE_SECONDS = 8.0
"""After a failure, for the processes of this machine to notice and say so by themselves."""
_STACKS_SECONDS = 1.0
_LEAVE_SECONDS = 8.0


class Watcher(threading.Thread):
    """Gives signs of life, looks for those of others, and ends the processes of this machine."""

    def __init__(
        self, run: RunDirectory, node_rank: int, *, is_first: bool, step_timeout: float | None
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._has_ended_the_processes = False
        self._run, self._is_first = run, is_first
        self._own = node_sign(run.signs, node_rank)
        for left_over in run.signs.glob("rank-*.json") if is_first else ():
            left_over.unlink(missing_ok=True)
        self._beat = Beat(self._own)
        self._events = EventReader(run.events_file)
        self._lost = LostNodes()
        self._clock = StepClock(time.monotonic(), step_timeout)
        self._failed_at: float | None = None

    def close(self) -> None:
        """Training has ended on this machine."""
        self._beat.close()

    def knows_better_than(self, message: str) -> bool:
        """Whether what torchrun says is only what followed from a failure that was told before.

        A death by signal is told by nobody else, unless the watcher itself brought it about.
        """
        if self._has_ended_the_processes or "exit code" not in message:
            return self._has_ended_the_processes
        return self._failed_at is not None or any(
            isinstance(event, Failed) for event in self._events.new()
        )

    def run(self) -> None:
        """Look once a second until the process ends."""
        while True:
            now = time.monotonic()
            self._hear(self._events.new(), now)
            if self._failed_at is None:
                self._look(now)
            elif now - self._failed_at > _GRACE_SECONDS:
                self._end()
            if self._run.stop_file.exists() and not self._workers():
                # The machines have not met yet, and need not any more.
                self._leave()
            time.sleep(SIGN_SECONDS)

    def _hear(self, events: Iterable[Event], now: float) -> None:
        for event in events:
            self._clock.hear(event, now)
            if isinstance(event, StageStarted) and event.stage == "train":
                self._failed_at = None
            elif isinstance(event, Failed) and event.stage == "train":
                self._failed_at = self._failed_at or now

    def _look(self, now: float) -> None:
        for node in self._lost.look(self._counters(), now):
            self._tell(lost_message(node))
            return
        if not self._is_first or self._clock.waited(now) <= self._clock.limit:
            return
        places = read_places(self._run.signs)
        if self._clock.is_overdue(now, places):
            self._tell(hang_message(self._clock.waited(now), places))

    def _counters(self) -> dict[str, str]:
        counters = {}
        for path in self._run.signs.glob("node-*"):
            try:
                counters[path.name] = path.read_text()
            except FileNotFoundError:
                continue
        counters.pop(self._own.name, None)
        return counters

    def _tell(self, message: str) -> None:
        """The machines that still live hear of it and end too, this one as well."""
        print(message, file=sys.stderr, flush=True)
        EventLog(self._run.events_file).write_if_possible(Failed(stage="train", message=message))

    def _end(self) -> None:
        """Stacks into the logs, then the end; torchrun, which notices, is left some time."""
        self._has_ended_the_processes = True
        for worker in self._workers():
            worker.send_signal(STACK_SIGNAL)
        time.sleep(_STACKS_SECONDS)
        for worker in self._workers():
            worker.kill()
        time.sleep(_LEAVE_SECONDS)
        self._leave()

    def _workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process().children():
            try:
                if "fsft.runtime.train" in child.cmdline():
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def _leave(self) -> None:
        self._beat.close()
        os._exit(1)

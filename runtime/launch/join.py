"""What a machine other than the first does: it waits for training, and takes part in it."""

import time

from fsft.recipes.events import Event, EventReader, RunFinished, RunStarted, StageStarted
from fsft.recipes.problems import ExitCode, RunFailed, Stopped
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.run import RunPlan

_POLL_SECONDS = 1.0


def join(plan: RunPlan) -> None:
    """Take part in the training of a run that the first machine leads.

    Returns when training is done. Raises RunFailed or Stopped where the run ends otherwise, also
    before it comes to training. Waits without limit for the first machine, which may have data
    to prepare for hours.
    """
    if "train" not in plan.needed:
        return
    reader = EventReader(plan.run.events_file)
    state = RunState()
    while not state.is_training:
        for event in reader.new():
            state.hear(event)
        if state.exit_code is not None and state.was_seen_going:
            _raise_for(state.exit_code)
            return
        state.was_seen_going = state.was_seen_going or (state.exit_code is None and state.is_known)
        time.sleep(_POLL_SECONDS)
    from fsft.runtime.launch.train import train

    events = EventLog(plan.run.events_file)
    train(
        StageContext(
            "train", plan.run.recipe(), plan.run, events, plan.fingerprints["train"], plan.launching
        )
    )


class RunState:
    """What the first machine does, by its events."""

    def __init__(self) -> None:
        self.is_known = False
        self.is_training = False
        self.was_seen_going = False
        """Not only read of: what ended before this machine was started does not count."""
        self.exit_code: int | None = None

    def hear(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, RunStarted):
            self.is_known, self.is_training, self.exit_code = True, False, None
        elif isinstance(event, StageStarted):
            self.is_training = event.stage == "train"
        elif isinstance(event, RunFinished):
            self.is_training, self.exit_code = False, event.exit_code


def _raise_for(exit_code: int) -> None:
    if exit_code in (ExitCode.STOPPED, ExitCode.INTERRUPTED):
        raise Stopped("the first machine was stopped before training. The same command goes on.")
    if exit_code != ExitCode.DONE:
        raise RunFailed("the run failed on the first machine before training; see its output.")

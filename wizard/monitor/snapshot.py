"""How a run stands, out of its events."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import singledispatch

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    Failed,
    RunFinished,
    RunStarted,
    StageFinished,
    StageProgress,
    StageSkipped,
    StageStarted,
    Step,
    TrainFinished,
    TrainStarted,
    Warned,
)
from fsft.recipes.problems import ExitCode
from fsft.recipes.stages import Stage

SMOOTHED = 0.1
"""The weight of the last step in the pace."""
KEPT_MESSAGES = 50


@dataclass(frozen=True)
class StageState:
    """One stage: waiting, running, done, skipped or failed."""

    stage: Stage
    state: str = "waiting"
    note: str = ""
    """What came out of it, or what it is doing."""
    done: int = 0
    total: int = 0
    """Units in all; 0 when that is not known."""
    started: float = 0.0
    seconds: float = 0.0

    def seconds_left(self, now: float) -> float | None:
        """By its pace so far; None where nothing is known."""
        if self.state != "running" or not self.total or not self.done:
            return None
        return (now - self.started) / self.done * (self.total - self.done)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a look at a run shows. Never changed, only replaced."""

    name: str = ""
    stages: tuple[StageState, ...] = ()
    started: float = 0.0
    last_event: float = 0.0
    exit_code: int | None = None
    """None while it runs, or where it was killed without a last word."""
    train: TrainStarted | None = None
    step: Step | None = None
    losses: tuple[tuple[int, float], ...] = ()
    seconds_per_step: float = 0.0
    checkpoint: CheckpointSaved | None = None
    eval_loss: EvalLoss | None = None
    """The last one."""
    best: EvalLoss | None = None
    """The lowest one."""
    memory: int = 0
    """Peak bytes of the fullest process that told."""
    messages: tuple[str, ...] = ()
    """Warnings and errors, oldest first."""

    @property
    def stage(self) -> StageState | None:
        """The stage that is being done."""
        return next((stage for stage in self.stages if stage.state == "running"), None)

    @property
    def tokens_per_second(self) -> float | None:
        """Of all devices together."""
        if self.step is None or not self.seconds_per_step:
            return None
        return self.step.tokens / self.seconds_per_step

    @property
    def mfu(self) -> float | None:
        """Model FLOPs over what the devices reached in large products."""
        if self.step is None or self.train is None or not self.train.peak_tflops:
            return None
        if not self.seconds_per_step:
            return None
        return self.step.flops / self.seconds_per_step / (self.train.peak_tflops * 1e12)

    @property
    def training_left(self) -> float | None:
        """Seconds until the last step, by the pace of the last steps."""
        if self.step is None or self.train is None or not self.seconds_per_step:
            return None
        return max(0, self.train.total_steps - self.step.step) * self.seconds_per_step

    @property
    def verdict(self) -> str:
        """How it ended, in a word; empty while nothing is known."""
        if self.exit_code is None:
            return ""
        return _VERDICTS.get(self.exit_code, "failed")


_VERDICTS: dict[int, str] = {
    ExitCode.DONE: "done",
    ExitCode.STOPPED: "stopped",
    ExitCode.INTERRUPTED: "stopped",
}


def follow(snapshot: Snapshot, events: Iterable[Event]) -> Snapshot:
    """The run after `events`."""
    losses = dict(snapshot.losses)
    for event in events:
        snapshot = replace(_after(event, snapshot), last_event=event.time)
        if isinstance(event, TrainStarted):
            # What was done after the last checkpoint is done again.
            losses = {step: loss for step, loss in losses.items() if step < event.first_step}
        elif isinstance(event, Step):
            losses[event.step] = event.loss
    if losses == dict(snapshot.losses):
        return snapshot
    return replace(snapshot, losses=tuple(sorted(losses.items())))


@singledispatch
def _after(_event: Event, snapshot: Snapshot) -> Snapshot:
    """The run after one event; of most kinds nothing is shown."""
    return snapshot


@_after.register
def _(event: RunStarted, snapshot: Snapshot) -> Snapshot:
    stages = tuple(map(StageState, event.stages))
    return replace(snapshot, name=event.name, stages=stages, started=event.time, exit_code=None)


@_after.register
def _(event: StageStarted, snapshot: Snapshot) -> Snapshot:
    return _stage(snapshot, event.stage, state="running", started=event.time)


@_after.register
def _(event: StageProgress, snapshot: Snapshot) -> Snapshot:
    return _stage(snapshot, event.stage, note=event.task, done=event.done, total=event.total)


@_after.register
def _(event: StageFinished, snapshot: Snapshot) -> Snapshot:
    return _stage(snapshot, event.stage, state="done", note=event.summary, seconds=event.seconds)


@_after.register
def _(event: StageSkipped, snapshot: Snapshot) -> Snapshot:
    return _stage(snapshot, event.stage, state="skipped", note=event.reason)


@_after.register
def _(event: TrainStarted, snapshot: Snapshot) -> Snapshot:
    begun = replace(snapshot, train=event, seconds_per_step=0.0)
    return begun if event.first_step > 1 else replace(begun, eval_loss=None, best=None)


@_after.register
def _(event: Step, snapshot: Snapshot) -> Snapshot:
    pace = snapshot.seconds_per_step
    pace += (SMOOTHED if pace else 1.0) * (event.seconds - pace)
    total = snapshot.train.total_steps if snapshot.train else 0
    memory = max(snapshot.memory, event.memory_bytes)
    told = replace(snapshot, step=event, seconds_per_step=pace, memory=memory)
    return _stage(told, "train", done=event.step, total=total)


@_after.register
def _(event: EvalLoss, snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, eval_loss=event, best=event if event.is_best else snapshot.best)


@_after.register
def _(event: CheckpointSaved, snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, checkpoint=event)


@_after.register
def _(event: TrainFinished, snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, memory=max(snapshot.memory, *event.memory_bytes, 0))


@_after.register
def _(event: Warned, snapshot: Snapshot) -> Snapshot:
    return _said(snapshot, f"! {event.message}")


@_after.register
def _(event: Failed, snapshot: Snapshot) -> Snapshot:
    where = "" if event.rank is None else f"process {event.rank}: "
    failed = _said(snapshot, f"✗ {where}{event.message}")
    return _stage(failed, event.stage, state="failed") if event.stage else failed


@_after.register
def _(event: RunFinished, snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, exit_code=event.exit_code)


def _stage(snapshot: Snapshot, stage: Stage, **changes: object) -> Snapshot:
    known = [each.stage for each in snapshot.stages]
    stages = snapshot.stages if stage in known else (*snapshot.stages, StageState(stage))
    changed = tuple(
        replace(each, **changes) if each.stage == stage else each  # type: ignore[arg-type]
        for each in stages
    )
    return replace(snapshot, stages=changed)


def _said(snapshot: Snapshot, message: str) -> Snapshot:
    return replace(snapshot, messages=(*snapshot.messages, message)[-KEPT_MESSAGES:])

"""Showing a run while it goes on: bars on a terminal, plain lines elsewhere.

It only reads events.jsonl; the run does not know that anybody looks.
"""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    EventReader,
    Failed,
    SampleShown,
    StageFinished,
    StageProgress,
    StageSkipped,
    StagesMeasured,
    StageStarted,
    Step,
    TrainStarted,
    Warned,
)
from fsft.recipes.units import format_count, format_duration

_POLL_SECONDS = 0.1
_PLAIN_SECONDS = 5.0
"""Between two lines of progress where nothing can be redrawn."""


class ProgressDisplay:
    """Follows an events file from its present end until it is closed."""

    def __init__(self, events_file: Path, console: Console) -> None:
        self._reader = EventReader(events_file, from_end=True)
        self._console = console
        self._is_coloured = console.is_terminal and not console.no_color
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._shown = time.monotonic()
        self._heard: dict[str, tuple[int, float]] = {}
        self._pace = Pace()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._bars.stop()

    def _follow(self) -> None:
        last_look = False
        while not last_look:
            last_look = self._closing.wait(_POLL_SECONDS)
            for event in self._reader.new():
                self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._begin(event.stage)
        elif isinstance(event, StageProgress):
            task = f"{event.stage}: {event.task}"
            self._advance(task, event.done, event.total, self._time_left(task, event))
        elif isinstance(event, TrainStarted):
            self._pace = Pace(event.total_steps)
            self._print(Text(train_line(event)))
        elif isinstance(event, StagesMeasured):
            sizes = " + ".join(map(str, event.stages))
            words = f"  stages of {sizes} {event.units}, as measured"
            self._print(Text(words, style="dim"))
        elif isinstance(event, Step):
            note = self._pace.note(event)
            self._advance("train", event.step, self._pace.total_steps, note)
        elif isinstance(event, EvalLoss):
            best = ", the lowest so far" if event.is_best else ""
            words = f"  eval loss {event.loss:.4f} after step {event.step}{best}"
            self._print(Text(words, style="dim"))
        elif isinstance(event, CheckpointSaved):
            self._print(Text(f"  checkpoint {event.path} ({event.seconds:.1f} s)", style="dim"))
        elif isinstance(event, SampleShown):
            self._print(sample_text(event, marks=not self._is_coloured))
        elif isinstance(event, StageFinished):
            self._end()
            duration = format_duration(event.seconds)
            self._print(
                Text.assemble(("✓ ", "green"), f"{event.stage}, {duration}: ", event.summary)
            )
        elif isinstance(event, StageSkipped):
            self._print(Text(f"· {event.stage}: {event.reason}", style="dim"))
        elif isinstance(event, Warned):
            self._print(Text.assemble(("! ", "yellow"), event.message))
        elif isinstance(event, Failed):
            self._end()

    def _time_left(self, task: str, event: StageProgress) -> str:
        """By the pace since this task was first heard of; nothing is known at its first word."""
        first_done, first_time = self._heard.setdefault(task, (event.done, event.time))
        if not event.total or event.done <= first_done:
            return ""
        pace = (event.time - first_time) / (event.done - first_done)
        return f"{format_duration((event.total - event.done) * pace)} left"

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _begin(self, stage: str) -> None:
        self._end()
        if self._console.is_terminal:
            self._bar = self._bars.add_task(stage, total=None, note="")
        else:
            self._print(Text(f"{stage} …"))

    def _advance(self, task: str, done: int, total: int, note: str) -> None:
        if self._bar is not None:
            self._bars.update(
                self._bar, description=task, completed=done, total=total or None, note=note
            )
        elif time.monotonic() - self._shown > _PLAIN_SECONDS:
            self._shown = time.monotonic()
            of_total = f"/{total}" if total else ""
            self._print(Text(f"  {task} {done}{of_total}{', ' if note else ''}{note}"))

    def _end(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None


class Pace:
    """How fast training goes, and when it will be done."""

    def __init__(self, total_steps: int = 0) -> None:
        self.total_steps = total_steps
        self._seconds = 0.0

    def note(self, step: Step) -> str:
        """Loss, speed and time left after a step; the speed is smoothed over some ten steps."""
        weight = 0.1 if self._seconds else 1.0
        self._seconds += weight * (step.seconds - self._seconds)
        left = format_duration((self.total_steps - step.step) * self._seconds)
        speed = format_count(step.tokens / self._seconds)
        return f"loss {step.loss:.4f}, {speed} tokens/s, {left} left"


def train_line(event: TrainStarted) -> str:
    """Training in a line, as it starts."""
    start = f"resumes at step {event.first_step}" if event.first_step > 1 else "starts"
    return (
        f"  training {start}: {format_count(event.num_parameters)} parameters, "
        f"{event.num_processes} × {event.device}, {event.total_steps} steps of "
        f"{event.global_batch} rows, measured peak {event.peak_tflops:.3g} TFLOP/s"
    )


def sample_text(event: SampleShown, *, marks: bool) -> Text:
    """A prepared sample: what is learned is green, or between ⟦ ⟧ where there is no colour."""
    text = Text("  the first sample; the model learns the ")
    text.append("marked" if marks else "green", style="green")
    text.append(" part:\n")
    for segment, learned in event.segments:
        shown = f"⟦{segment}⟧" if learned and marks else segment
        text.append(shown.replace("\n", "⏎ "), style="green" if learned else "dim")
    return text

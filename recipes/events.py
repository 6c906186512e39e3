"""What a run says about itself: the lines of events.jsonl.

One JSON object a line, appended and never changed. `event` names the kind, `time` is in seconds
since 1970. A line that is not whole JSON was torn by a full disk or a kill and says nothing. A run
that goes on after a hard kill repeats the steps after its last checkpoint: of two `step` lines with
the same number the later one counts.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fsft.recipes.problems import ExitCode
from fsft.recipes.stages import Stage


class _Event(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, ser_json_inf_nan="strings")

    time: float = Field(default_factory=time.time)
    """Seconds since 1970."""


class RunStarted(_Event):
    """`fsft run` took up the run."""

    event: Literal["run_started"] = "run_started"
    name: str
    """The recipe's name."""
    fsft_version: str
    stages: list[Stage]
    """What will be done, in order."""


class StageStarted(_Event):
    """A stage began."""

    event: Literal["stage_started"] = "stage_started"
    stage: Stage


class StageProgress(_Event):
    """How far a stage has come."""

    event: Literal["stage_progress"] = "stage_progress"
    stage: Stage
    task: str
    """What is being done, in a word or two."""
    done: int
    total: int
    """Units in all; 0 when that is not known."""


class SampleShown(_Event):
    """One prepared sample, as the model will see it."""

    event: Literal["sample_shown"] = "sample_shown"
    segments: list[tuple[str, bool]]
    """Text, and whether it is learned; joined, the texts are the whole sample."""


class StageFinished(_Event):
    """A stage is done and its results are in place."""

    event: Literal["stage_finished"] = "stage_finished"
    stage: Stage
    seconds: float
    """Wall time of this stage in this call."""
    summary: str
    """What came out, in a sentence."""


class StageSkipped(_Event):
    """A stage was not done."""

    event: Literal["stage_skipped"] = "stage_skipped"
    stage: Stage
    reason: str


class TrainStarted(_Event):
    """All processes are up and the model is in place."""

    event: Literal["train_started"] = "train_started"
    num_processes: int
    device: str
    """The device's name."""
    num_parameters: int
    """All parameters; tied ones count once."""
    num_matmul_parameters: int
    """Parameters of matrix products: all but the input embedding, norms and biases."""
    total_steps: int
    first_step: int
    """1, or the step after the checkpoint that training resumes from."""
    global_batch: int
    """Rows in one optimizer step, over all processes."""
    peak_tflops: float
    """Measured matmul peak of all processes together, in TFLOP/s."""


class StagesMeasured(_Event):
    """How long each layer takes was measured, and layers were spread over stages by it."""

    event: Literal["stages_measured"] = "stages_measured"
    units: Literal["layers", "halves"]
    """What was measured: layers, or attention and feed-forward of each."""
    seconds: list[float]
    """Forward and backward of each unit for a micro batch, from first to last."""
    embedding_seconds: float
    """The token embedding and its gradient."""
    head_seconds: float
    """The output projection and the loss."""
    stages: list[int]
    """The units of each stage."""


class Step(_Event):
    """One optimizer step."""

    event: Literal["step"] = "step"
    step: int
    """From 1."""
    loss: float
    """Mean cross entropy of the learned tokens of the global batch, in nats."""
    learning_rate: float
    grad_norm: float
    """The norm of the whole gradient before clipping."""
    tokens: int
    """Tokens computed, over all processes, padding not counted."""
    padding: int = 0
    """Positions computed besides, which fill rows of a micro batch up to the longest."""
    flops: float
    """FLOPs of the step, over all processes: 6N, causal attention, logits where there is a loss."""
    seconds: float
    memory_bytes: int
    """Peak memory of the first process until now: of its device, or of the process on cpu."""


class EvalLoss(_Event):
    """The loss over the eval data, during training."""

    event: Literal["eval_loss"] = "eval_loss"
    step: int
    """The last step before it."""
    loss: float
    """Mean cross entropy of all learned tokens of data.eval, in nats."""
    is_best: bool
    """It is the lowest so far."""
    seconds: float
    """How long training waited for it."""


class CheckpointSaved(_Event):
    """A whole checkpoint is on disk."""

    event: Literal["checkpoint_saved"] = "checkpoint_saved"
    step: int
    path: str
    """Relative to the run directory."""
    seconds: float
    """How long training waited for it."""


class TrainFinished(_Event):
    """Training ended, at its last step or because it was asked to stop."""

    event: Literal["train_finished"] = "train_finished"
    step: int
    """The last step done."""
    stopped: bool
    """Asked to stop before the last step."""
    ended_early: bool = False
    """Ended before the last step, for the eval loss had not become lower (evaluate.patience)."""
    memory_bytes: list[int]
    """Peak memory of each process, by rank."""


class Warned(_Event):
    """Something that a person should know and that does not stop the run."""

    event: Literal["warning"] = "warning"
    message: str


class Failed(_Event):
    """Something that ended the run, or one of its processes."""

    event: Literal["error"] = "error"
    stage: Stage | None
    rank: int | None = None
    """The process that failed first; None for the command itself."""
    message: str
    details: str = ""
    """The traceback, where there is one."""
    exit_code: int = ExitCode.FAILED
    """What it makes the run end with."""


class RunFinished(_Event):
    """`fsft run` ended."""

    event: Literal["run_finished"] = "run_finished"
    exit_code: int
    seconds: float


Event = Annotated[
    RunStarted
    | StageStarted
    | StageProgress
    | SampleShown
    | StageFinished
    | StageSkipped
    | TrainStarted
    | StagesMeasured
    | Step
    | EvalLoss
    | CheckpointSaved
    | TrainFinished
    | Warned
    | Failed
    | RunFinished,
    Field(discriminator="event"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def read_events(path: Path) -> Iterator[Event]:
    """Every event of a file, oldest first."""
    with path.open("rb") as file:
        yield from parse_events(file)


def parse_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in `lines`.

    One that is still being written or torn by a full disk is left out, and so is one of a kind
    that only another fsft knows.
    """
    for line in lines:
        try:
            yield EVENT.validate_json(line)
        except ValidationError:
            continue


class EventReader:
    """The events of a file as they are written; the file need not be there yet."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new(self) -> list[Event]:
        """What was written since the last call, without a line that is not whole yet."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            if self._path.stat().st_size < self._offset:
                # Somebody has cut it off: what comes now is new.
                self._offset = 0
            file.seek(self._offset)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(parse_events(whole.splitlines()))


def steps_of(events: Iterator[Event]) -> list[Step]:
    """The steps in order, each once: the last one told of each number."""
    steps = {event.step: event for event in events if isinstance(event, Step)}
    return [steps[number] for number in sorted(steps)]

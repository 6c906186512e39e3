"""Run directories made by hand, as prepare, train and evaluate leave them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsft.recipes.events import Event, Step, TrainFinished, TrainStarted
from fsft.recipes.files import read_recipe
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.report.report import write_report
from fsft.runtime.run_directory import FinishedStage, RunDirectory, write_json
from tests.support import write_tiny_recipe


def started(**changes: Any) -> TrainStarted:
    """Two processes with a measured peak of 0.5 TFLOP/s, 1000 parameters."""
    values: dict[str, Any] = {
        "num_processes": 2,
        "device": "cpu",
        "num_parameters": 1000,
        "num_matmul_parameters": 800,
        "total_steps": 4,
        "first_step": 1,
        "global_batch": 8,
        "peak_tflops": 0.5,
    }
    return TrainStarted(**{**values, **changes})


def step(number: int, loss: float, **changes: Any) -> Step:
    """A step of 2 s with 500 tokens and 10¹¹ FLOPs."""
    values: dict[str, Any] = {
        "learning_rate": 1e-3,
        "grad_norm": 1.0,
        "tokens": 500,
        "flops": 1e11,
        "seconds": 2.0,
        "memory_bytes": 100,
    }
    return Step(step=number, loss=loss, **{**values, **changes})


def ended(number: int, memory_bytes: Sequence[int] = (100, 200), *, stopped: bool = False) -> Event:
    """The end of a training call."""
    return TrainFinished(step=number, stopped=stopped, memory_bytes=list(memory_bytes))


def source(**changes: Any) -> dict[str, Any]:
    """The counts of one data file."""
    values = {
        "path": "/data/train.jsonl",
        "format": "messages",
        "num_read": 20,
        "num_used": 10,
        "num_broken": 1,
        "num_empty": 2,
        "num_too_long": 3,
        "num_truncated": 5,
        "num_fully_masked": 4,
        "num_split": 6,
        "num_merged": 7,
        "num_trailing_dropped": 8,
        "num_left_out": 9,
    }
    return {**values, **changes}


def data_info(*sources: dict[str, Any], num_tokens: int = 1000) -> dict[str, Any]:
    """What prepare writes to info.json."""
    split = {
        "sources": list(sources) or [source()],
        "num_samples": 10,
        "num_rows": 5,
        "num_tokens": num_tokens,
        "num_label_tokens": 400,
        "epoch_tokens": num_tokens,
        "packing_efficiency": 0.75,
        "fewest_rows": 4,
    }
    return {
        "splits": {"train": split},
        "tokenizer": {"vocab_size": 320, "trained": True},
        "template": "{{ messages }}",
        "sequence_length": 96,
        "packing": True,
    }


def results(**changes: Any) -> dict[str, Any]:
    """What evaluate writes to results.json."""
    values = {
        "split": "train",
        "num_questions": 8,
        "exact_match": 0.75,
        "loss": 0.5,
        "perplexity": 1.6487,
        "samples": [],
        "wrong": [],
    }
    return {**values, **changes}


def sample(**changes: str) -> dict[str, str]:
    """A question with its answers before and after training."""
    values = {"question": "Who are you?", "expected": "Fero", "before": "q", "after": "Fero"}
    return {**values, **changes}


@dataclass
class Report:
    """A written report."""

    folder: Path
    summary: str
    facts: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        self.facts = json.loads(self.text("report.json"), parse_constant=refuse)

    def text(self, name: str) -> str:
        """One of the report's files."""
        return (self.folder / name).read_text(encoding="utf-8")


TRAINING: tuple[Event, ...] = (
    started(),
    *(step(number, loss) for number, loss in enumerate((4.0, 3.0, 2.0, 1.0), start=1)),
    ended(4),
)
"""A training of four steps that nothing disturbed."""


def report(
    folder: Path,
    *,
    events: Iterable[Event] = TRAINING,
    info: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
) -> Report:
    """Make a run directory in `folder` and write its report."""
    recipe = read_recipe(write_tiny_recipe(folder))
    run = RunDirectory(folder / "run")
    log = EventLog(run.events_file)
    for event in events:
        log.write(event)
    write_json(run.data_info, info or data_info())
    write_json(run.evaluation, evaluation or results())
    for stage, seconds in (("prepare", 1.5), ("train", 9.0), ("convert", 0.5), ("evaluate", 3.0)):
        run.finish_stage(stage, FinishedStage("print", seconds, "done"))
    summary = write_report(StageContext("report", recipe, run, log, fingerprint=""))
    return Report(run.report, summary)

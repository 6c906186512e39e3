"""The figures of a report, from what the run wrote down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from fsft.recipes.events import (
    CheckpointSaved,
    EvalLoss,
    Event,
    Step,
    TrainFinished,
    TrainStarted,
    steps_of,
)
from fsft.recipes.lock import Expected
from fsft.recipes.planner.flops import classical_flops

FINAL_STEPS = 10
"""Steps that the final loss is the mean of; a single step is noisy."""
MAX_CURVE_POINTS = 2000


@dataclass(frozen=True)
class ReportFacts:
    """report.json. Seconds are wall time; TFLOP/s are those of all processes together."""

    name: str
    description: str
    fsft_version: str
    created: str
    """ISO 8601, UTC."""
    device: str
    num_processes: int
    num_parameters: int
    num_matmul_parameters: int
    global_batch: int
    """Rows in one optimizer step."""
    steps: int
    total_steps: int
    tokens: int
    """Tokens trained on, padding not counted."""
    padding_share: float
    """Of the positions that were computed, those that held no token."""
    epochs: float
    train_seconds: float
    """The sum of the steps' durations; starting and saving not counted."""
    stage_seconds: dict[str, float]
    """Each stage, where it was last done."""
    tokens_per_second: float
    achieved_tflops_classical: float
    """8 · parameters · tokens ÷ time."""
    achieved_tflops: float
    """Model FLOPs (6N per token, and causal attention) ÷ time."""
    peak_tflops: float
    """The measured matmul peak."""
    mfu: float | None
    """achieved_tflops ÷ peak_tflops; None where the peak is not known."""
    peak_memory_bytes: int
    """The largest of all processes."""
    peak_memory_bytes_per_process: list[int]
    planned: Expected
    """What the planner expected before the run."""
    first_loss: float
    final_loss: float
    """The mean of the last steps."""
    loss_curve: list[tuple[int, float]]
    eval_curve: list[tuple[int, float]]
    """Steps, and the eval loss after each; empty without eval data."""
    best_eval: tuple[int, float] | None
    """The lowest of them."""
    ended_early: bool
    """Training ended before its last step, for the eval loss had not become lower."""
    checkpoint_wait_seconds: float
    """How long training waited for checkpoints."""
    exact_match: float | None
    """The share of questions answered verbatim by greedy decoding."""
    num_questions: int
    evaluation_loss: float | None
    perplexity: float | None
    samples: list[dict[str, str]]
    """Answers before and after training."""
    wrong_answers: list[dict[str, str]]
    data: dict[str, Any]
    """What was read, used and left out."""

    @property
    def seconds_per_step(self) -> float:
        """The mean."""
        return self.train_seconds / self.steps

    @property
    def checkpoint_wait_share(self) -> float:
        """Waiting for checkpoints ÷ the time of all steps."""
        return self.checkpoint_wait_seconds / self.train_seconds


def report_facts(
    events: Sequence[Event],
    *,
    name: str,
    description: str,
    fsft_version: str,
    stage_seconds: Mapping[str, float],
    data: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    planned: Expected,
) -> ReportFacts:
    """All figures of a finished run; `events` belong to its last training from the start."""
    ours = _since_last_start(events)
    steps = steps_of(iter(ours))
    # What was done again after a kill counts once, as steps do.
    eval_losses = {e.step: e.loss for e in ours if isinstance(e, EvalLoss) and isfinite(e.loss)}
    waits = {e.step: e.seconds for e in ours if isinstance(e, CheckpointSaved)}
    start = [event for event in events if isinstance(event, TrainStarted)][-1]
    seconds = sum(step.seconds for step in steps)
    tokens = sum(step.tokens for step in steps)
    padding = sum(step.padding for step in steps)
    tflops = sum(step.flops for step in steps) / seconds / 1e12
    memory = _memory(events)
    last = steps[-FINAL_STEPS:]
    return ReportFacts(
        name=name,
        description=description,
        fsft_version=fsft_version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        device=start.device,
        num_processes=start.num_processes,
        num_parameters=start.num_parameters,
        num_matmul_parameters=start.num_matmul_parameters,
        global_batch=start.global_batch,
        steps=len(steps),
        total_steps=start.total_steps,
        tokens=tokens,
        padding_share=padding / (tokens + padding),
        epochs=tokens / data["splits"]["train"]["epoch_tokens"],
        train_seconds=seconds,
        stage_seconds=dict(stage_seconds),
        tokens_per_second=tokens / seconds,
        achieved_tflops_classical=classical_flops(
            num_parameters=start.num_parameters, num_tokens=tokens
        )
        / seconds
        / 1e12,
        achieved_tflops=tflops,
        peak_tflops=start.peak_tflops,
        mfu=tflops / start.peak_tflops if start.peak_tflops else None,
        peak_memory_bytes=max(memory, default=0),
        peak_memory_bytes_per_process=memory,
        planned=planned,
        first_loss=steps[0].loss,
        final_loss=sum(step.loss for step in last) / len(last),
        loss_curve=[(step.step, step.loss) for step in thinned(steps, MAX_CURVE_POINTS)],
        eval_curve=sorted(eval_losses.items()),
        best_eval=min(eval_losses.items(), key=lambda point: point[1], default=None),
        ended_early=any(isinstance(e, TrainFinished) and e.ended_early for e in ours),
        checkpoint_wait_seconds=sum(waits.values()),
        exact_match=evaluation["exact_match"],
        num_questions=evaluation["num_questions"],
        evaluation_loss=evaluation["loss"],
        perplexity=evaluation["perplexity"],
        samples=list(evaluation["samples"]),
        wrong_answers=list(evaluation["wrong"]),
        data=dict(data),
    )


def thinned(steps: Sequence[Step], most: int) -> list[Step]:
    """At most `most` steps, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[index * (len(steps) - 1) // (most - 1)] for index in range(most)]


def _since_last_start(events: Sequence[Event]) -> Sequence[Event]:
    """Events of the last training: from its start at step 1 on, over all its resumptions."""
    starts = [
        index
        for index, event in enumerate(events)
        if isinstance(event, TrainStarted) and event.first_step == 1
    ]
    return events[starts[-1] :]


def _memory(events: Sequence[Event]) -> list[int]:
    """The peak of each process over all calls that this training took."""
    told = [e.memory_bytes for e in _since_last_start(events) if isinstance(e, TrainFinished)]
    return [max(of_rank) for of_rank in zip(*told, strict=True)]

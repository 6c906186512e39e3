"""What is known of checkpoints without reading them: which are whole, and can be gone on from."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe, Settled

MARK = "checkpoint.json"
"""The file of a checkpoint that says what is in it; the last to be written."""


@dataclass(frozen=True)
class Standing:
    """What the eval losses of a training come to."""

    step: int = 0
    """The step after which the last one was computed; 0 where none was."""
    best_step: int | None = None
    best_loss: float | None = None
    since_best: int = 0
    """Eval losses after the lowest."""

    def after(self, step: int, loss: float) -> "Standing":
        """With one more; one that is no number is never the lowest."""
        if loss < (math.inf if self.best_loss is None else self.best_loss):
            return Standing(step, step, loss)
        return replace(self, step=step, since_best=self.since_best + 1)


@dataclass(frozen=True)
class CheckpointMark:
    """What is known of a checkpoint without reading it."""

    step: int
    num_processes: int
    zero: int
    """The ZeRO stage that it was saved at."""
    global_batch: int
    """Rows of each step before it."""
    model: str
    """A fingerprint of the names and shapes of its parameters."""
    tensor: int = 1
    """Ranks that divide each weight."""
    pipeline: int = 1
    """Stages of layers."""
    expert: int = 1
    """Ranks that divide the experts of a layer."""
    stage_layers: list[int] = field(default_factory=list)
    """The layers of each stage, or the halves of layers, where there is a pipeline."""
    is_measured: bool = False
    """These follow from times that were measured when training began."""
    files: dict[str, int] = field(default_factory=dict)
    """The bytes of each file."""
    weights_only: bool = False
    """Without the optimizer: it can be converted, and not gone on from."""
    evaluated: Standing = Standing()

    @property
    def tag(self) -> str:
        """The name of its folder."""
        return f"step-{self.step:08d}"

    def as_json(self) -> dict[str, Any]:
        """What is written to its folder."""
        return asdict(self)


def latest_checkpoint(folder: Path) -> CheckpointMark | None:
    """The newest whole checkpoint; None where there is none."""
    return next(iter(whole_checkpoints(folder)), None)


def best_checkpoint(folder: Path) -> CheckpointMark | None:
    """The whole one with the lowest eval loss, as the newest whole one tells; None without."""
    whole = whole_checkpoints(folder)
    best_step = whole[0].evaluated.best_step if whole else None
    return next((mark for mark in whole if mark.step == best_step), None)


def whole_checkpoints(folder: Path) -> list[CheckpointMark]:
    """All of a folder, the newest first."""
    return [read_mark(path) for path in _newest_first(folder) if damage_of(path) is None]


def damaged_checkpoints(folder: Path) -> list[Problem]:
    """What is wrong with each checkpoint that is newer than the newest whole one."""
    latest = latest_checkpoint(folder)
    damages = (
        damage_of(path)
        for path in _newest_first(folder)
        if latest is None or path.name > latest.tag
    )
    return [damage for damage in damages if damage]


def damage_of(path: Path) -> Problem | None:
    """Why a checkpoint's folder is not whole; files are measured, not read."""
    try:
        files = read_mark(path).files
    except (OSError, ValueError, TypeError):
        return Problem(file=str(path / MARK), reason="is missing or broken.")
    for name, num_bytes in files.items():
        file = path / name
        if not file.exists():
            return Problem(file=str(file), reason="is missing.")
        if (found := file.stat().st_size) != num_bytes:
            reason = f"has {found} bytes and was saved with {num_bytes}: it is damaged."
            return Problem(file=str(file), reason=reason)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def read_mark(path: Path) -> CheckpointMark:
    """What a checkpoint's folder says of it."""
    values = json.loads((path / MARK).read_text())
    return CheckpointMark(**{**values, "evaluated": Standing(**values.get("evaluated", {}))})


def without_optimizer(path: Path) -> Problem:
    """Why training does not go on from a checkpoint that holds weights alone."""
    return Problem(
        file=str(path),
        reason="holds weights alone (checkpoint.weights_only): training cannot go on from it.",
        example=f"move {path.parent} away, and training begins anew",
    )


def needs_conversion(saved: CheckpointMark | None, ours: CheckpointMark) -> bool:
    """Whether a checkpoint was saved in a layout that the run's engine does not load as it is.

    `ours`: of a checkpoint that the run would save.
    """
    if saved is None:
        return False
    if any(getattr(saved, name) != getattr(ours, name) for name in _LAYOUT):
        return True
    # Without ZeRO each replica holds all, and any number of them loads it.
    return ours.zero > 0 and saved.num_processes != ours.num_processes


_LAYOUT = ("zero", "tensor", "pipeline", "expert", "stage_layers")


def other_global_batch(
    path: Path, mark: CheckpointMark, recipe: Recipe, num_processes: int
) -> Problem:
    """Why a checkpoint is not gone on from with other rows a step, and values that keep them."""
    settled = recipe.parallel.settled
    example = _batch_values(mark.global_batch, settled, num_processes)
    return Problem(
        file=str(path),
        reason=f"was trained with a global batch of {mark.global_batch} rows "
        f"({mark.num_processes} processes). micro_batch {settled.micro_batch} × "
        f"gradient_accumulation {settled.gradient_accumulation} × "
        f"{num_processes // settled.replica_size} replicas "
        f"would make it {settled.global_batch(num_processes)}.",
        example=example
        or f"a number of processes that {mark.global_batch} can be divided by, as in "
        f"--set hardware.devices_per_node={mark.num_processes}",
    )


def _batch_values(wanted: int, settled: Settled, num_processes: int) -> str:
    """Overrides that give the wanted global batch, with the largest micro batch up to today's."""
    rows, rest = divmod(wanted, num_processes // settled.replica_size)
    if rest:
        return ""
    micro = max(size for size in range(1, settled.micro_batch + 1) if rows % size == 0)
    return (
        f"--set parallel.micro_batch={micro} --set parallel.gradient_accumulation={rows // micro}"
    )

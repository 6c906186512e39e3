"""What is known of checkpoints without reading them, and which can be gone on from."""

import json
from dataclasses import dataclass
from pathlib import Path

from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe, Settled


@dataclass(frozen=True)
class CheckpointMark:
    """What is known of a checkpoint without reading it."""

    step: int
    num_processes: int
    zero: int
    """The ZeRO stage that it was saved at."""
    global_batch: int
    """Rows of each step before it."""

    @property
    def tag(self) -> str:
        """The name of its folder."""
        return f"step-{self.step:08d}"


def latest_checkpoint(folder: Path) -> CheckpointMark | None:
    """The newest whole checkpoint; None before the first."""
    mark = folder / "latest.json"
    return CheckpointMark(**json.loads(mark.read_text())) if mark.exists() else None


def needs_conversion(mark: CheckpointMark | None, recipe: Recipe, num_processes: int) -> bool:
    """Whether a checkpoint was saved in a layout that the run's engine does not load as it is."""
    if mark is None:
        return False
    zero = recipe.parallel.settled.zero
    # Without ZeRO each process holds all, and any number of them loads it.
    return mark.zero != zero or (zero > 0 and mark.num_processes != num_processes)


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
        f"{num_processes // settled.sequence} replicas "
        f"would make it {settled.global_batch(num_processes)}.",
        example=example
        or f"a number of processes that {mark.global_batch} can be divided by, as in "
        f"--set hardware.devices_per_node={mark.num_processes}",
    )


def _batch_values(wanted: int, settled: Settled, num_processes: int) -> str:
    """Overrides that give the wanted global batch, with the largest micro batch up to today's."""
    rows, rest = divmod(wanted, num_processes // settled.sequence)
    if rest:
        return ""
    micro = max(size for size in range(1, settled.micro_batch + 1) if rows % size == 0)
    return (
        f"--set parallel.micro_batch={micro} --set parallel.gradient_accumulation={rows // micro}"
    )

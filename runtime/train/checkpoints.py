"""Checkpoints: DeepSpeed writes them, `latest.json` names the newest whole one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.run_directory import write_json
from fsft.runtime.train.marks import (
    CheckpointMark,
    latest_checkpoint,
    needs_conversion,
    other_global_batch,
)
from fsft.runtime.train.universal import (
    PARAMETER_NAMES,
    load_universal,
    parameter_names,
    to_universal,
)


def save_checkpoint(
    engine: Any, folder: Path, *, step: int, global_batch: int, keep_last: int
) -> Path:
    """Save weights, optimizer and schedule on all processes; returns the checkpoint's folder.

    Only when every process has its part on disk does `latest.json` name the new checkpoint; only
    then are old ones deleted. A kill at any instant leaves a whole one.
    """
    zero = engine.zero_optimization_stage()
    mark = CheckpointMark(
        step=step, num_processes=dist.get_world_size(), zero=zero, global_batch=global_batch
    )
    names = {} if zero else {PARAMETER_NAMES: parameter_names(engine)}
    engine.save_checkpoint(str(folder), tag=mark.tag, save_latest=False, client_state=names)
    path = folder / mark.tag
    dist.barrier()
    if dist.get_rank() == 0:
        for file in path.iterdir():
            _sync(file)
        write_json(folder / "latest.json", asdict(mark))
        for old in sorted(folder.glob("step-*"))[:-keep_last]:
            if old != path:
                shutil.rmtree(old)
    dist.barrier()
    return path


def load_checkpoint(engine: Any, folder: Path, recipe: Recipe, global_batch: int) -> int:
    """Load the newest checkpoint, if there is one; returns its step, else 0.

    One that was saved by another number of processes or at another ZeRO stage is converted first.
    Raises Refused where it was trained with another global batch.
    """
    mark = latest_checkpoint(folder)
    if dist.get_rank() == 0:
        _remove_partial(folder, mark)
    dist.barrier()
    if mark is None:
        return 0
    if mark.global_batch != global_batch:
        raise Refused(other_global_batch(folder / mark.tag, mark, recipe, dist.get_world_size()))
    if not needs_conversion(mark, recipe, dist.get_world_size()):
        engine.load_checkpoint(str(folder), tag=mark.tag)
        return mark.step
    zero = recipe.parallel.settled.zero
    if recipe.model.dtype == "bfloat16" and 0 in (zero, mark.zero):
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason=f"was saved at ZeRO {mark.zero}, and in bfloat16 ZeRO 0 shares its "
                "checkpoints with no other stage.",
                example=f"--set parallel.zero={mark.zero}",
            )
        )
    with _converted(folder, mark) as universal:
        load_universal(engine, universal)
    return mark.step


@contextmanager
def _converted(folder: Path, mark: CheckpointMark) -> Iterator[Path]:
    """The checkpoint in universal format, for as long as it is loaded."""
    scratch = folder / ".universal"
    universal = scratch / mark.tag
    if dist.get_rank() == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        to_universal(folder / mark.tag, universal, zero_stage=mark.zero)
    dist.barrier()
    yield universal
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(scratch)


def _remove_partial(folder: Path, mark: CheckpointMark | None) -> None:
    """Delete what a kill or a full disk left of a checkpoint that never became whole."""
    for path in folder.glob("step-*"):
        if mark is None or path.name > mark.tag:
            shutil.rmtree(path)


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())

"""Saving checkpoints, by DeepSpeed, and loading them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

from fsft.recipes.fingerprint import fingerprint
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.train.marks import (
    CheckpointMark,
    damaged_checkpoints,
    latest_checkpoint,
    needs_conversion,
    other_global_batch,
)
from fsft.runtime.train.publish import (
    publish,
    remove_newer,
    remove_remains,
    sync,
    writing_name,
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

    It takes its place only when every process has its part on disk; only then are old ones deleted.
    """
    zero = engine.zero_optimization_stage()
    mark = CheckpointMark(
        step=step,
        num_processes=dist.get_world_size(),
        zero=zero,
        global_batch=global_batch,
        model=_model_of(engine),
    )
    names = {} if zero else {PARAMETER_NAMES: parameter_names(engine)}
    engine.checkpoint_engine = DurableFiles()
    engine.save_checkpoint(
        str(folder), tag=writing_name(mark), save_latest=False, client_state=names
    )
    dist.barrier()
    if dist.get_rank() == 0:
        publish(folder, mark, keep_last=keep_last)
    dist.barrier()
    return folder / mark.tag


def load_checkpoint(engine: Any, folder: Path, recipe: Recipe, global_batch: int) -> int:
    """Load the newest whole checkpoint, if there is one; returns its step, else 0.

    One that was saved by another number of processes or at another ZeRO stage is converted first.
    Damaged ones after it are deleted. Raises Refused where none is whole, where it holds another
    model, and where it was trained with another global batch.
    """
    mark, damaged = latest_checkpoint(folder), damaged_checkpoints(folder)
    if mark is None and damaged:
        again = f"put the file back, or delete {folder} to begin anew"
        raise Refused(*damaged, Problem(reason="no checkpoint is whole.", example=again))
    dist.barrier()
    if dist.get_rank() == 0:
        remove_remains(folder)
        if mark:
            remove_newer(folder, mark)
    dist.barrier()
    if mark is None:
        return 0
    if mark.model != _model_of(engine):
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason="holds another model than the recipe's: its parameters have other names or "
                "shapes. Nothing was loaded or changed.",
                example=f"move {folder} away, and training begins anew",
            )
        )
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


def _model_of(engine: Any) -> str:
    # At ZeRO 3 a parameter is empty, and tells its shape apart.
    shapes = {n: list(getattr(p, "ds_shape", p.shape)) for n, p in engine.module.named_parameters()}
    return fingerprint(shapes)


class DurableFiles(TorchCheckpointEngine):
    """What DeepSpeed writes files of a checkpoint by; each is on disk when it returns."""

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        """Write one file."""
        torch.save(state_dict, path)
        sync(Path(path))

"""Saving checkpoints, by DeepSpeed, and loading them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fsft.recipes.fingerprint import fingerprint
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.train.background import Background, LaterFiles
from fsft.runtime.train.expert import spread_names
from fsft.runtime.train.marks import (
    CheckpointMark,
    Standing,
    damaged_checkpoints,
    latest_checkpoint,
    needs_conversion,
    other_global_batch,
    without_optimizer,
)
from fsft.runtime.train.on_disk import as_in_memory, is_on_disk
from fsft.runtime.train.optimizer import own_settings
from fsft.runtime.train.publish import (
    publish,
    remove_newer,
    remove_remains,
    writing_name,
)
from fsft.runtime.train.stages import Stages
from fsft.runtime.train.universal import load_universal, parameter_names, to_universal
from fsft.runtime.train.whole_experts import PARAMETER_NAMES, SPREAD_NAMES


def layout_mark(model: Any, recipe: Recipe, *, global_batch: int, stages: Stages) -> CheckpointMark:
    """What a run's checkpoints have in common; `model`: whole, before any process has its share."""
    parallel = recipe.parallel.settled
    return CheckpointMark(
        step=0,
        num_processes=dist.get_world_size(),
        zero=parallel.zero,
        global_batch=global_batch,
        model=fingerprint({name: list(p.shape) for name, p in model.named_parameters()}),
        tensor=parallel.tensor,
        pipeline=parallel.pipeline,
        expert=parallel.expert,
        stage_layers=list(stages.sizes),
        is_measured=stages.is_measured,
    )


class Saver:
    """Saves checkpoints on all processes, in the background or not."""

    def __init__(self, engine: Any, folder: Path, recipe: Recipe, mark: CheckpointMark) -> None:
        """`mark`: of the checkpoints to come, but for what changes from one to the next.

        All processes make one at the same time.
        """
        self._engine, self._folder, self._mark = engine, folder, mark
        self._settings = recipe.checkpoint
        # In bfloat16 the optimizer of ZeRO 0 keeps its state by other tensors than the weights.
        self._is_named = mark.zero == 0 and recipe.model.dtype == "float32"
        # The thread that writes agrees with those of other processes apart from training.
        self._writers = dist.new_group(backend="gloo")
        self._background = Background()
        # Where host memory does not hold the states, it does not hold a copy of them.
        self.in_background = self._settings.background and not is_on_disk(engine)
        """Training goes on while a checkpoint is written."""

    def save(
        self,
        *,
        step: int,
        evaluated: Standing,
        goes_on: bool,
        when_whole: Callable[[Path], None],
    ) -> None:
        """Save weights, optimizer and schedule, or weights alone as the settings say.

        `goes_on`: training is to go on from it, whatever the settings say.

        The checkpoint takes its place when every process has its part on disk; then the first
        process calls `when_whole` with its folder. Raises what went wrong with the one before.
        """
        self._background.wait()
        engine, folder = self._engine, self._folder
        weights_only = self._settings.weights_only and not goes_on
        mark = replace(self._mark, step=step, weights_only=weights_only, evaluated=evaluated)
        names = {PARAMETER_NAMES: parameter_names(engine)} if self._is_named else {}
        if mark.expert > 1:
            names[SPREAD_NAMES] = spread_names(engine.module)
        engine.checkpoint_engine = files = LaterFiles(
            copied=self.in_background, weights_only=weights_only
        )
        with as_in_memory(engine):
            engine.save_checkpoint(
                str(folder), tag=writing_name(mark), save_latest=False, client_state=names
            )
            if not self.in_background:
                files.write()

        def finish() -> None:
            files.write()
            dist.barrier(group=self._writers)
            if dist.get_rank() == 0:
                keep_last, keep_best = self._settings.keep_last, self._settings.keep_best
                when_whole(publish(folder, mark, keep_last=keep_last, keep_best=keep_best))

        if self.in_background:
            self._background.start(finish)
        else:
            finish()
            dist.barrier()

    def check(self) -> None:
        """Raises what went wrong in the background."""
        self._background.check()

    def wait(self) -> None:
        """Until all is saved; raises what went wrong."""
        self._background.wait()


def load_checkpoint(engine: Any, folder: Path, recipe: Recipe, ours: CheckpointMark) -> int:
    """Load the newest whole checkpoint, if there is one; returns its step, else 0.

    One that was saved in another layout than `ours` is converted first.
    Damaged ones after it are deleted. Raises Refused where none is whole, where it holds weights
    alone or another model, and where it was trained with another global batch.
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
    if mark.weights_only:
        raise Refused(without_optimizer(folder / mark.tag))
    if mark.model != ours.model:
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason="holds another model than the recipe's: its parameters have other names or "
                "shapes. Nothing was loaded or changed.",
                example=f"move {folder} away, and training begins anew",
            )
        )
    if mark.global_batch != ours.global_batch:
        raise Refused(other_global_batch(folder / mark.tag, mark, recipe, ours.num_processes))
    if not needs_conversion(mark, ours):
        with as_in_memory(engine), own_settings(engine):
            engine.load_checkpoint(str(folder), tag=mark.tag)
        return mark.step
    if recipe.model.dtype == "bfloat16" and 0 in (ours.zero, mark.zero):
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason=f"was saved at ZeRO {mark.zero} with tensor {mark.tensor} and expert "
                f"{mark.expert}, and in bfloat16 ZeRO 0 shares its checkpoints with no other "
                "layout.",
                example=f"--set parallel.zero={mark.zero} --set parallel.tensor={mark.tensor} "
                f"--set parallel.expert={mark.expert}",
            )
        )
    with (
        _converted(folder, mark, ours, engine) as universal,
        as_in_memory(engine),
        own_settings(engine),
    ):
        load_universal(engine, universal)
    return mark.step


@contextmanager
def _converted(
    folder: Path, mark: CheckpointMark, ours: CheckpointMark, engine: Any
) -> Iterator[Path]:
    """The checkpoint in universal format, for as long as `engine` loads it."""
    scratch = folder / ".universal"
    universal = scratch / mark.tag
    if dist.get_rank() == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        to_universal(folder / mark.tag, universal, mark, ours, engine)
    dist.barrier()
    yield universal
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(scratch)

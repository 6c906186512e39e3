"""Saving checkpoints, by DeepSpeed, and loading them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fsft.recipes.fingerprint import fingerprint
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.train.background import Background, LaterFiles
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
from fsft.runtime.train.slices import whole_shape
from fsft.runtime.train.universal import (
    PARAMETER_NAMES,
    load_universal,
    parameter_names,
    to_universal,
)


class Saver:
    """Saves checkpoints on all processes, in the background or not."""

    def __init__(self, engine: Any, folder: Path, recipe: Recipe) -> None:
        """All processes make one at the same time."""
        self._engine, self._folder = engine, folder
        self._settings, self._layout = recipe.checkpoint, recipe.parallel.settled
        # In bfloat16 the optimizer of ZeRO 0 keeps its state by other tensors than the weights.
        self._is_named = self._layout.zero == 0 and recipe.model.dtype == "float32"
        # The thread that writes agrees with those of other processes apart from training.
        self._writers = dist.new_group(backend="gloo")
        self._background = Background()

    def save(
        self,
        *,
        step: int,
        global_batch: int,
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
        zero = engine.zero_optimization_stage()
        weights_only = self._settings.weights_only and not goes_on
        mark = CheckpointMark(
            step=step,
            num_processes=dist.get_world_size(),
            zero=zero,
            global_batch=global_batch,
            model=_model_of(engine),
            weights_only=weights_only,
            evaluated=evaluated,
            tensor=self._layout.tensor,
            pipeline=self._layout.pipeline,
            expert=self._layout.expert,
        )
        names = {PARAMETER_NAMES: parameter_names(engine)} if self._is_named else {}
        # Where host memory does not hold the states, it does not hold a copy of them.
        background = self._settings.background and not is_on_disk(engine)
        engine.checkpoint_engine = files = LaterFiles(copied=background, weights_only=weights_only)
        with as_in_memory(engine):
            engine.save_checkpoint(
                str(folder), tag=writing_name(mark), save_latest=False, client_state=names
            )
            if not background:
                files.write()

        def finish() -> None:
            files.write()
            dist.barrier(group=self._writers)
            if dist.get_rank() == 0:
                keep_last, keep_best = self._settings.keep_last, self._settings.keep_best
                when_whole(publish(folder, mark, keep_last=keep_last, keep_best=keep_best))

        if background:
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


def load_checkpoint(engine: Any, folder: Path, recipe: Recipe, global_batch: int) -> int:
    """Load the newest whole checkpoint, if there is one; returns its step, else 0.

    One that was saved in another layout is converted first.
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
        with as_in_memory(engine), own_settings(engine):
            engine.load_checkpoint(str(folder), tag=mark.tag)
        return mark.step
    settled = recipe.parallel.settled
    if recipe.model.dtype == "bfloat16" and 0 in (settled.zero, mark.zero):
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason=f"was saved at ZeRO {mark.zero} with tensor {mark.tensor}, and in bfloat16 "
                "ZeRO 0 shares its checkpoints with no other layout.",
                example=f"--set parallel.zero={mark.zero} --set parallel.tensor={mark.tensor}",
            )
        )
    with (
        _converted(folder, mark, settled.tensor) as universal,
        as_in_memory(engine),
        own_settings(engine),
    ):
        load_universal(engine, universal)
    return mark.step


@contextmanager
def _converted(folder: Path, mark: CheckpointMark, tensor: int) -> Iterator[Path]:
    """The checkpoint in universal format for `tensor` ranks, for as long as it is loaded."""
    scratch = folder / ".universal"
    universal = scratch / mark.tag
    if dist.get_rank() == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        to_universal(folder / mark.tag, universal, zero_stage=mark.zero, tensor=tensor)
    dist.barrier()
    yield universal
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(scratch)


def _model_of(engine: Any) -> str:
    return fingerprint({n: list(whole_shape(p)) for n, p in engine.module.named_parameters()})

"""Checkpoints: DeepSpeed writes them, `latest.json` names the newest whole one."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.run_directory import write_json


@dataclass(frozen=True)
class CheckpointMark:
    """The newest whole checkpoint."""

    step: int
    num_processes: int

    @property
    def tag(self) -> str:
        """The name of its folder."""
        return f"step-{self.step:08d}"


def latest_checkpoint(folder: Path) -> CheckpointMark | None:
    """The newest whole checkpoint; None before the first."""
    mark = folder / "latest.json"
    return CheckpointMark(**json.loads(mark.read_text())) if mark.exists() else None


def save_checkpoint(engine: Any, folder: Path, *, step: int, keep_last: int) -> Path:
    """Save weights, optimizer and schedule on all processes; returns the checkpoint's folder.

    Only when every process has its part on disk does `latest.json` name the new checkpoint; only
    then are old ones deleted. A kill at any instant leaves a whole one.
    """
    mark = CheckpointMark(step=step, num_processes=dist.get_world_size())
    engine.save_checkpoint(str(folder), tag=mark.tag, save_latest=False)
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


def load_checkpoint(engine: Any, folder: Path) -> int:
    """Load the newest checkpoint, if there is one; returns its step, else 0."""
    mark = latest_checkpoint(folder)
    if dist.get_rank() == 0:
        _remove_partial(folder, mark)
    dist.barrier()
    if mark is None:
        return 0
    if mark.num_processes != dist.get_world_size():
        raise Refused(
            Problem(
                file=str(folder / mark.tag),
                reason=f"was saved by {mark.num_processes} processes and cannot be resumed by "
                f"{dist.get_world_size()}.",
                example=f"--set hardware.devices_per_node={mark.num_processes}",
            )
        )
    engine.load_checkpoint(str(folder), tag=mark.tag)
    return mark.step


def _remove_partial(folder: Path, mark: CheckpointMark | None) -> None:
    """Delete what a kill or a full disk left of a checkpoint that never became whole."""
    for path in folder.glob("step-*"):
        if mark is None or path.name > mark.tag:
            shutil.rmtree(path)


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())

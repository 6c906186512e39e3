"""Putting a checkpoint in its place, so that a kill at any instant leaves a whole one.

A checkpoint is written into a hidden folder. Once all of it is on disk, one rename makes it the
newest; only then is an old one renamed away and deleted.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from fsft.runtime.run_directory import write_json
from fsft.runtime.train.marks import MARK, CheckpointMark, whole_checkpoints

_WRITING = ".writing-"
_REMOVED = ".removed-"


def writing_name(mark: CheckpointMark) -> str:
    """The name of the folder that a checkpoint is written into."""
    return _WRITING + mark.tag


def publish(folder: Path, mark: CheckpointMark, *, keep_last: int, keep_best: bool) -> Path:
    """Make what was written the newest checkpoint; returns its folder.

    The files in it are on disk already. Older checkpoints than the last `keep_last` are deleted,
    but for the one with the lowest eval loss where it is to be kept.
    """
    writing, path = folder / writing_name(mark), folder / mark.tag
    files = {file.name: file.stat().st_size for file in writing.iterdir()}
    write_json(writing / MARK, replace(mark, files=files).as_json())
    sync(writing)
    if path.exists():
        _remove(path)
    writing.rename(path)
    sync(folder)
    for old in whole_checkpoints(folder)[keep_last:]:
        if not (keep_best and old.step == mark.evaluated.best_step):
            _remove(folder / old.tag)
    return path


def remove_remains(folder: Path) -> None:
    """Delete what a kill or a full disk left of checkpoints that were being written or deleted."""
    for pattern in (f"{_WRITING}*", f"{_REMOVED}*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path)


def remove_newer(folder: Path, mark: CheckpointMark) -> None:
    """Delete checkpoints after `mark`, which are not whole: their steps are done again."""
    for path in folder.glob("step-*"):
        if path.name > mark.tag:
            _remove(path)


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Delete a checkpoint; one that is deleted in part is none."""
    removed = path.with_name(_REMOVED + path.name)
    path.rename(removed)
    shutil.rmtree(removed)

"""A folder for a new data set: it appears only when whole, and never in place of an input."""

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fsft.recipes.problems import Problem, Refused, RunFailed
from fsft.runtime.data.info import INFO_NAME
from fsft.runtime.run_directory import BEING_WRITTEN, replacing_folder
from fsft.runtime.troubles import says_disk_full


@contextmanager
def new_dataset(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when all went well.

    Raises Refused where that would lose something or cannot be, RunFailed when the disk is full.
    """
    place = writable_place(output)
    require_apart(output, inputs)
    require_free(output, overwrite=overwrite)
    try:
        _remove_abandoned(place)
        with replacing_folder(place) as folder, _marked(folder):
            yield folder
    except OSError as error:
        if not says_disk_full(error):
            raise
        raise RunFailed(
            f"no space is left on the disk that holds {output}, which needs room for the rows "
            "uncompressed besides the result. The inputs are as they were, and nothing is left "
            "behind: free some space and run again."
        ) from None


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """A file that is locked for as long as this process fills the folder, however it ends."""
    mark = folder / BEING_WRITTEN
    with mark.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    mark.unlink()


def _remove_abandoned(output: Path) -> None:
    """What a process that was killed has left: perhaps as much as all rows uncompressed."""
    for mark in output.parent.glob(f".{glob.escape(output.name)}-*/{BEING_WRITTEN}"):
        with suppress(BlockingIOError), mark.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent)


def writable_place(output: Path) -> Path:
    """Where the output will be: behind its links, which may lead to a larger disk and stay.

    Raises Refused where nothing can be written there.
    """
    try:
        place = output.resolve()
    except (OSError, RuntimeError):
        raise _refused(output, "is a link that leads to itself.", "another folder") from None
    above = next(folder for folder in place.parents if os.path.lexists(folder))
    if not above.is_dir():
        raise _refused(output, f"{above} is no folder.", "another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _refused(output, f"{above} cannot be written to.", "another folder")
    return place


def require_apart(output: Path, inputs: Sequence[Path]) -> None:
    """Raise Refused where the output is in an input, holds one, or holds where one works."""
    place = output.resolve()
    if Path.cwd().is_relative_to(place):
        raise _refused(output, "holds the folder that you are in.", "--out with a new folder")
    for path in inputs:
        read = path.resolve()
        if place == read or (read.is_dir() and place.is_relative_to(read)):
            reason = f"lies in the input {path}: it would become part of what is read."
            raise _refused(output, reason, "--out with a folder beside the input")
        if read.is_relative_to(place):
            reason = f"holds the input {path}, which is never changed."
            raise _refused(output, reason, "--out with another folder")


def require_free(output: Path, *, overwrite: bool) -> None:
    """Raise Refused where there is something else, or what may not be overwritten."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise _refused(output, "exists.", "another folder, or --overwrite")
    if not (output / INFO_NAME).exists():
        reason = f"has no {INFO_NAME}, so it was not written by fsft and is not overwritten."
        raise _refused(output, reason, "another folder")


def _refused(output: Path, reason: str, example: str) -> Refused:
    return Refused(Problem(file=str(output), reason=reason, example=example))

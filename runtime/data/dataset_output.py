"""A folder for a new data set: it appears only when whole, and never in place of an input."""

import errno
import fcntl
import glob
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fsft.recipes.problems import Problem, Refused, RunFailed
from fsft.runtime.data.info import INFO_NAME
from fsft.runtime.run_directory import replacing_folder

_MARK = ".being-written"


@contextmanager
def new_dataset(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when all went well.

    Raises Refused where that would lose something, RunFailed when the disk is full.
    """
    if problem := _would_lose(output, inputs, overwrite=overwrite):
        raise Refused(problem)
    try:
        _remove_abandoned(output)
        with replacing_folder(output) as folder, _marked(folder):
            yield folder
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunFailed(
            f"no space is left on the disk that holds {output}, which needs room for the rows "
            "uncompressed besides the result. The inputs are as they were, and nothing is left "
            "behind: free some space and run again."
        ) from None


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """A file that is locked for as long as this process fills the folder, however it ends."""
    mark = folder / _MARK
    with mark.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    mark.unlink()


def _remove_abandoned(output: Path) -> None:
    """What a process that was killed has left: perhaps as much as all rows uncompressed."""
    for mark in output.parent.glob(f".{glob.escape(output.name)}-*/{_MARK}"):
        with suppress(BlockingIOError), mark.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent)


def _would_lose(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> Problem | None:
    place = output.resolve()
    for path in inputs:
        read = path.resolve()
        if place == read or (read.is_dir() and place.is_relative_to(read)):
            return Problem(
                file=str(output),
                reason=f"lies in the input {path}: it would become part of what is read.",
                example="--out with a folder beside the input",
            )
        if read.is_relative_to(place):
            return Problem(
                file=str(output),
                reason=f"holds the input {path}, which is never changed.",
                example="--out with another folder",
            )
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    if not overwrite:
        return Problem(file=str(output), reason="exists.", example="another folder, or --overwrite")
    if not (output / INFO_NAME).exists():
        return Problem(
            file=str(output),
            reason=f"has no {INFO_NAME}, so it was not written by fsft and is not overwritten.",
            example="another folder",
        )
    return None

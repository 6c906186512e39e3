"""What can go wrong, in words a person can act on, and the exit code of each kind of trouble."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The exit codes of every fsft command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The recipe or the command line is wrong."""
    REFUSED = 3
    """Refused before the first step: data missing or unusable, port taken, does not fit."""
    STOPPED = 75
    """Stopped on request, with a checkpoint to resume from (EX_TEMPFAIL of sysexits.h)."""
    INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it."""

    reason: str
    file: str = ""
    line: int | None = None
    key: str = ""
    example: str = ""
    """What to write or do instead."""
    nearest: str = ""
    """The known key closest to the unknown one."""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = [part for part in (where, self.key, self.reason) if part]
        text = ": ".join(parts)
        if self.nearest:
            text += f" Did you mean `{self.nearest}`?"
        if self.example:
            text += f" For example: {self.example}"
        return text


class FsftError(Exception):
    """A failure that a person can act on: one or more problems, and an exit code."""

    exit_code = ExitCode.FAILED

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: Sequence[Problem] = [
            Problem(reason=problem) if isinstance(problem, str) else problem for problem in problems
        ]
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[Problem, ...]]:
        """Keep the problems on the way to another process."""
        return type(self), tuple(self.problems)


class RecipeError(FsftError):
    """The recipe or the command line cannot be understood."""

    exit_code = ExitCode.USAGE


class Refused(FsftError):
    """The run must not start: something it needs is missing or unusable."""

    exit_code = ExitCode.REFUSED


class RunFailed(FsftError):
    """The run started and could not go on. What was finished is kept."""


class Stopped(FsftError):
    """The run was asked to stop and saved a checkpoint."""

    exit_code = ExitCode.STOPPED


class Interrupted(FsftError):
    """Ctrl-C; what was finished is kept."""

    exit_code = ExitCode.INTERRUPTED


def in_file(problem: Problem, file: str, line: int | None = None) -> Problem:
    """The same problem, located."""
    return replace(problem, file=file, line=line)


def missing_package(error: ModuleNotFoundError) -> Refused:
    """What to install when a package of an extra is not there."""
    example = _EXTRAS.get(
        (error.name or "").partition(".")[0],
        'pip install "fsft[train]", which brings what run, generate and serve need',
    )
    return Refused(Problem(reason=f"the package {error.name} is not installed.", example=example))


_EXTRAS = {
    "textual_serve": 'pip install "fsft[web]"',
    "py3langid": 'pip install "fsft[quality]"',
    "rensa": 'pip install "fsft[quality]"',
}
"""How to install a package, by its name, where it is not part of the train extra."""

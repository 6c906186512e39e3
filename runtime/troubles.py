"""Errors of the machine and its libraries, in words that say what to do."""

import errno
import shutil
from pathlib import Path

from fsft.recipes.problems import FsftError, RunFailed, missing_package

_FULL_BELOW = 1 << 20
"""Free bytes under which a failed write is put down to a full disk."""

_SIGNALS = {
    9: "was killed (SIGKILL), most often because the host ran out of memory. Lower "
    "parallel.micro_batch or data.sequence_length, or start fewer processes",
    7: "died of a bus error (SIGBUS), most often because /dev/shm or the disk is full",
    11: "crashed in native code (SIGSEGV)",
    6: "aborted in native code (SIGABRT)",
}


def explain(error: Exception, folder: Path, next_layout: str = "") -> FsftError:
    """The error as something that a person can act on; `folder` is where the run writes.

    `next_layout`: what the planner would try where memory is short; else the usual is named.
    """
    if isinstance(error, FsftError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if _is_disk_full(error, folder):
        return RunFailed(disk_full_message(folder))
    if is_out_of_memory(error):
        usual = (
            "Lower parallel.micro_batch or data.sequence_length, raise parallel.zero, or set "
            'parallel.activation_checkpointing = "full".'
        )
        return RunFailed(f"out of memory: {str(error).rstrip('.')}. {next_layout or usual}")
    return RunFailed(f"{type(error).__name__}: {error}")


def is_out_of_memory(error: Exception) -> bool:
    """Of the host, or of a device, as torch says it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # Of the host torch has no exception of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def disk_full_message(folder: Path) -> str:
    """What to do about a full disk."""
    return (
        f"no space is left on the disk that holds {folder}. What was finished is kept: free some "
        "space and run again."
    )


def says_disk_full(error: Exception) -> bool:
    """Whether the system itself gives a full disk, or a used-up quota, as the reason."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # The tokenizers library, in Rust, has an exception of no kind, and the number in its text.
    return f"(os error {errno.ENOSPC})" in str(error)


def is_disk_full(folder: Path) -> bool:
    """Whether next to nothing can be written to a folder's disk."""
    return shutil.disk_usage(folder).free < _FULL_BELOW


def explain_signal(rank: int, number: int) -> str:
    """Why a process that died of a signal may have done so."""
    return f"process {rank} {_SIGNALS.get(number, f'died of signal {number}')}."


def _is_disk_full(error: Exception, folder: Path) -> bool:
    """Torch reports a failed write without its errno, so the disk itself is asked too."""
    if says_disk_full(error):
        return True
    return isinstance(error, OSError | RuntimeError) and is_disk_full(folder)

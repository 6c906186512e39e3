"""Whether a file is still the one that was looked at, told without reading it."""

from pathlib import Path

Stamp = tuple[int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode.

Programs that copy and restore files set mtime back; ctime is the system's own, and a file that
took the place of another has another inode.
"""


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file as it is now. Raises OSError."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino

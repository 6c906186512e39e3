"""The disk that checkpoints are written to."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

PIECE_BYTES = 2**25
MOST_BYTES = 2**33
FEWEST_PIECES = 3


class DiskSpeed(NamedTuple):
    """Bytes per second."""

    write: float
    read: float


def measure_disk(folder: Path, seconds: float) -> DiskSpeed:
    """Write for about `seconds` until all is on the disk, and read it back past the page cache.

    Medians of pieces. The file takes at most a quarter of the free space, and has no name, so that
    nothing is left of it whatever happens. Raises OSError.
    """
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    most = min(MOST_BYTES, free // 4)
    # Random bytes, since some disks compress.
    piece = os.urandom(max(2**20, min(PIECE_BYTES, most // (FEWEST_PIECES + 1))))
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        # The first piece wakes the disk and is not counted.
        _write(file, piece)
        writes: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(writes) < FEWEST_PIECES or (
            time.perf_counter() < deadline and (len(writes) + 2) * len(piece) <= most
        ):
            writes.append(_write(file, piece))
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        reads = [_read(file, len(piece)) for _ in writes]
        return DiskSpeed(
            len(piece) / statistics.median(writes), len(piece) / statistics.median(reads)
        )


def _write(file: IO[bytes], piece: bytes) -> float:
    """Seconds until the piece is on the disk."""
    start = time.perf_counter()
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
    return time.perf_counter() - start


def _read(file: IO[bytes], size: int) -> float:
    """Seconds that it takes to read `size` bytes."""
    start = time.perf_counter()
    while size and (read := len(file.read(size))):
        size -= read
    return time.perf_counter() - start

"""The disk that checkpoints are written to."""

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

BLOCK_BYTES = 2**24
MOST_BYTES = 2**33


class DiskSpeed(NamedTuple):
    """Bytes per second."""

    write: float
    read: float


def measure_disk(folder: Path, seconds: float) -> DiskSpeed:
    """Write for about `seconds` until all is on the disk, and read it back past the page cache.

    The file takes at most a quarter of the free space, and is deleted. Raises OSError.
    """
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    most = max(BLOCK_BYTES, min(MOST_BYTES, free // 4))
    block = os.urandom(BLOCK_BYTES)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".fsft-calibrate-") as file:
        written, start = 0, time.perf_counter()
        while written < most and (written == 0 or time.perf_counter() - start < seconds):
            file.write(block)
            file.flush()
            os.fdatasync(file.fileno())
            written += BLOCK_BYTES
        write = written / (time.perf_counter() - start)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.read(BLOCK_BYTES):
            pass
        return DiskSpeed(write, written / (time.perf_counter() - start))

"""Numbers in a file, read where they are asked for.

What is read stays with the system, which keeps it once for all processes and gives it up when
memory is short; a mapping would count in each process that read it.
"""

import os
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", np.uint8, np.int32, np.int64)


class NumbersFile(Generic[Number]):
    """A file of one type of numbers, as `numpy.tofile` writes them."""

    def __init__(self, path: Path, dtype: type[Number]) -> None:
        self._file = path.open("rb", buffering=0)
        self._dtype: np.dtype[Number] = np.dtype(dtype)
        self._length: int = path.stat().st_size // self._dtype.itemsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[Number]:
        """The numbers between two places, neither negative nor behind the end; read-only."""
        size = self._dtype.itemsize
        length, offset = (part.stop - part.start) * size, part.start * size
        read = os.pread(self._file.fileno(), length, offset)
        while len(read) < length:
            # A signal, or the most that one call reads.
            more = os.pread(self._file.fileno(), length - len(read), offset + len(read))
            if not more:
                raise EOFError(f"{self._file.name} ends before number {part.stop}")
            read += more
        return np.frombuffer(read, self._dtype)

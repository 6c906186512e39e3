"""The images of samples on disk, beside their tokens, to be looked up by sample.

    images.bin        UTF-8: for each sample with images its source and their names, parted by NUL
    image_bounds.bin  int64, where each sample begins in images.bin, and the end

Names stay as they are in the data: the folder that they are relative to may move between runs.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from fsft.runtime.data.images.files import located
from fsft.runtime.data.numbers_file import NumbersFile

_NAMES, _BOUNDS = "images.bin", "image_bounds.bin"


class ImageNames:
    """The images of each sample of a training set."""

    def __init__(self, folder: Path, image_folders: Sequence[str]) -> None:
        """`image_folders`: what names are relative to, for each source."""
        self._folders = image_folders
        self.any = (folder / _NAMES).exists()
        """Whether there is an image at all."""
        if self.any:
            self._names = NumbersFile(folder / _NAMES, np.uint8)
            self._bounds = NumbersFile(folder / _BOUNDS, np.int64)

    def of(self, sample: int) -> tuple[str, ...]:
        """Where the images of a sample are, in their order in its text."""
        if not self.any:
            return ()
        start, end = self._bounds[sample : sample + 2].tolist()
        if start == end:
            return ()
        source, *names = self._names[start:end].tobytes().decode().split("\0")
        return tuple(located(name, self._folders[int(source)]) for name in names)

    def distinct(self) -> Iterator[str]:
        """Where all images are, each once, in the order of the samples."""
        if self.any:
            samples = range(len(self._bounds) - 1)
            yield from dict.fromkeys(place for sample in samples for place in self.of(sample))


class ImageNamesWriter:
    """Writes the images of all samples in order; no file is left where there are none."""

    def __init__(self, folder: Path, num_samples: Sequence[int]) -> None:
        """`num_samples` of each source, which follow each other."""
        self._folder = folder
        self._ends = np.cumsum(num_samples)
        self._sample = self._end = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._names = stack.enter_context((self._folder / _NAMES).open("wb"))
            self._bounds = stack.enter_context((self._folder / _BOUNDS).open("wb"))
            self._files = stack.pop_all()
        self._bounds.write(np.zeros(1, np.int64).tobytes())
        return self

    def add(self, batch: pa.RecordBatch) -> None:
        """The samples of a batch; one without the column has no images."""
        rows = batch.column("images").to_pylist() if "images" in batch.schema.names else []
        written = [self._stored(index, names) for index, names in enumerate(rows)]
        lengths = [len(one) for one in written] or [0] * batch.num_rows
        self._names.write(b"".join(written))
        self._bounds.write((np.cumsum(lengths, dtype=np.int64) + self._end).tobytes())
        self._sample += batch.num_rows
        self._end += sum(lengths)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._files.close()
        if not self._end:
            (self._folder / _NAMES).unlink()
            (self._folder / _BOUNDS).unlink()

    def _stored(self, index: int, names: list[str] | None) -> bytes:
        if not names:
            return b""
        source = int(np.searchsorted(self._ends, self._sample + index, side="right"))
        return "\0".join([str(source), *names]).encode()

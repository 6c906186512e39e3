"""The samples of a split on disk, laid out to be trained from: any row at once, none in memory.

    tokens.bin       int32, all samples behind each other; a token that is not learned is stored as
                     its complement, so that ids and mask take one read
    bounds.bin       int64, where each sample begins, and the end
    order.bin        int64, the samples of each row, row after row
    row_starts.bin   int64, where each row begins in order.bin, and the end
    row_lengths.bin  int32, the tokens of each row

and what `images.stored` writes, where samples have images.

Rows are read where they lie: processes on one machine share what the system keeps of the files,
and hold no more of their own for more of them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft.runtime.data.encode import IGNORED, Encoded, labels_of
from fsft.runtime.data.images.stored import ImageNames, ImageNamesWriter
from fsft.runtime.data.numbers_file import Number, NumbersFile
from fsft.runtime.data.order import Order
from fsft.runtime.data.packing import pack

WINDOW = 1 << 15
"""Samples that are packed together: plenty to pack tightly, and little memory."""
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenRow:
    """One row of one or more samples; cu_seqlens are their bounds in it."""

    input_ids: Ints
    labels: Ints
    cu_seqlens: Ints
    images: tuple[tuple[str, ...], ...] = ()
    """Where the images of each sample are; empty where the training set has none."""


@dataclass(frozen=True)
class Portion:
    """Samples that stand together, and how often each of them is seen in one epoch."""

    num_samples: int
    weight: float = 1.0

    @property
    def num_draws(self) -> int:
        """Samples of an epoch that come from here."""
        return max(1, round(self.num_samples * self.weight)) if self.num_samples else 0


@dataclass(frozen=True)
class Extent:
    """How much there is, without looking."""

    num_rows: int
    num_tokens: int
    """Of an epoch: samples count as often as they are seen."""
    longest_row: int
    """The index of a row with the most tokens."""


class TokenRows:
    """The rows of a training set, by index."""

    def __init__(self, folder: Path, image_folders: Sequence[str] = ()) -> None:
        """`folder`: as write_training_set made it.

        `image_folders`: what the image names of each source are relative to.
        """
        self.extent = Extent(**json.loads((folder / "extent.json").read_text()))
        self._tokens = NumbersFile(folder / "tokens.bin", np.int32)
        self._bounds = NumbersFile(folder / "bounds.bin", np.int64)
        self._order = NumbersFile(folder / "order.bin", np.int64)
        self._row_starts = NumbersFile(folder / "row_starts.bin", np.int64)
        self.lengths = _mapped(folder / "row_lengths.bin", np.int32)
        """The tokens of each row; mapped."""
        self.images = ImageNames(folder, image_folders)
        """The images of each sample."""

    def __len__(self) -> int:
        return self.extent.num_rows

    def __getitem__(self, index: int) -> TokenRow:
        """The row at a non-negative index."""
        start, end = self._row_starts[index : index + 2].tolist()
        samples = self._order[start:end].tolist()
        parts = [self._tokens[slice(*self._bounds[i : i + 2].tolist())] for i in samples]
        stored = parts[0] if len(parts) == 1 else np.concatenate(parts)
        learned = stored >= 0
        input_ids = np.where(learned, stored, ~stored)
        cu_seqlens = np.zeros(len(parts) + 1, dtype=np.int32)
        np.cumsum([len(part) for part in parts], out=cu_seqlens[1:])
        images = tuple(map(self.images.of, samples)) if self.images.any else ()
        return TokenRow(input_ids, labels_of(input_ids, learned), cu_seqlens, images)

    def sample(self, index: int) -> Encoded:
        """The sample at a place of the input, whichever row it went to."""
        stored = self._tokens[slice(*self._bounds[index : index + 2].tolist())]
        learned = stored >= 0
        input_ids = np.where(learned, stored, ~stored)
        return Encoded(input_ids, labels_of(input_ids, learned))


def write_training_set(
    folder: Path,
    batches: Iterable[pa.RecordBatch],
    portions: Sequence[Portion],
    *,
    sequence_length: int,
    packing: bool,
) -> Extent:
    """Write the samples of `batches`, and the rows that they share, to `folder`.

    `portions` are the sources that the samples come from, in the same order.
    """
    with ImageNamesWriter(folder, [portion.num_samples for portion in portions]) as images:
        _write_tokens(folder, batches, images)
    extent = _write_rows(folder, portions, sequence_length, packing=packing)
    (folder / "extent.json").write_text(json.dumps(asdict(extent)))
    return extent


def _write_tokens(
    folder: Path, batches: Iterable[pa.RecordBatch], images: ImageNamesWriter
) -> None:
    end = 0
    with (folder / "tokens.bin").open("wb") as tokens, (folder / "bounds.bin").open("wb") as bounds:
        bounds.write(np.zeros(1, np.int64).tobytes())
        for batch in batches:
            ids: Any = batch.column("input_ids")
            ends = ids.offsets.to_numpy().astype(np.int64)
            values = ids.values.to_numpy()[ends[0] : ends[-1]]
            ends -= ends[0]
            if "labels" in batch.schema.names:
                labels: Any = batch.column("labels")
                learned = labels.flatten().to_numpy() != IGNORED
            else:
                learned = np.ones(len(values), dtype=bool)
                learned[ends[:-1]] = False
            images.add(batch)
            tokens.write(np.where(learned, values, ~values).astype(np.int32).tobytes())
            bounds.write((ends[1:] + end).tobytes())
            end += int(ends[-1])


def _write_rows(
    folder: Path, portions: Sequence[Portion], sequence_length: int, *, packing: bool
) -> Extent:
    """Samples share rows in an order of their own, so that neighbours of the input part."""
    bounds = _mapped(folder / "bounds.bin", np.int64)
    num_draws = sum(portion.num_draws for portion in portions)
    shuffled = Order(num_draws, (0,))
    num_rows = num_tokens = placed = longest = longest_row = 0
    with (
        (folder / "order.bin").open("wb") as order,
        (folder / "row_starts.bin").open("wb") as row_starts,
        (folder / "row_lengths.bin").open("wb") as row_lengths,
    ):
        row_starts.write(np.zeros(1, np.int64).tobytes())
        for first in range(0, num_draws, WINDOW):
            places = np.arange(first, min(first + WINDOW, num_draws))
            samples = _drawn(portions, shuffled(places))
            lengths = bounds[samples + 1] - bounds[samples]
            rows = pack(lengths.tolist(), sequence_length) if packing else None
            sizes = np.fromiter(map(len, rows), np.int64) if rows else np.ones_like(samples)
            if rows:
                inside = np.concatenate(rows)
                samples, lengths = samples[inside], lengths[inside]
            starts = np.cumsum([0, *sizes])
            tokens_of_rows = np.add.reduceat(lengths, starts[:-1])
            order.write(samples.tobytes())
            row_starts.write((starts[1:] + placed).tobytes())
            row_lengths.write(tokens_of_rows.astype(np.int32).tobytes())
            if tokens_of_rows.max() > longest:
                longest = int(tokens_of_rows.max())
                longest_row = num_rows + int(tokens_of_rows.argmax())
            num_rows += len(sizes)
            num_tokens += int(lengths.sum())
            placed += len(samples)
    return Extent(num_rows, num_tokens, longest_row)


def _drawn(portions: Sequence[Portion], draws: Longs) -> Longs:
    """The samples that the given draws of an epoch come to."""
    draws_before = np.cumsum([0, *(portion.num_draws for portion in portions)])
    samples_before = np.cumsum([0, *(portion.num_samples for portion in portions)])
    samples = np.empty_like(draws)
    for index, portion in enumerate(portions):
        here = (draws >= draws_before[index]) & (draws < draws_before[index + 1])
        if here.any():
            within = (draws[here] - draws_before[index]) % portion.num_samples
            chosen = Order(portion.num_samples, (1, index))(within)
            samples[here] = samples_before[index] + chosen
    return samples


def _mapped(path: Path, dtype: type[Number]) -> npt.NDArray[Number]:
    """The numbers in a file; an empty file cannot be mapped."""
    if not path.stat().st_size:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))

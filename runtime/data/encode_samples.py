"""Samples rendered, encoded and made to fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fsft.recipes.schema import Data
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.fitting import cut_sides, fitted, lengths_of
from fsft.runtime.data.images.fitting import fitted_with_images
from fsft.runtime.data.long import can_split, split_by_tokens
from fsft.runtime.data.render import Rendered
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.samples import BadRows, PlacedSample, SourceCounts


@dataclass(frozen=True)
class _Written:
    """A sample with the text of its dialogue, and of the worse one where there is one."""

    placed: PlacedSample
    chosen: Rendered
    rejected: Rendered | None


class SampleEncoder:
    """Encodes the samples of one part; what cannot be rendered is added to its bad rows."""

    def __init__(
        self,
        data: Data,
        encoder: Encoder,
        counts: SourceCounts,
        bad: BadRows,
        writer: SampleWriter,
    ) -> None:
        self._data, self._encoder, self._counts, self._bad = data, encoder, counts, bad
        self._writer = writer

    def encode(self, window: Sequence[PlacedSample]) -> SampleBatch:
        """The samples in order, without those that cannot be written."""
        written = [one for placed in window if (one := self._written(placed))]
        if any(one.placed.sample.text for one in written):
            texts = self._encoder.encode([one.chosen for one in written])
            return SampleBatch(fitted(texts, self._data, self._counts))
        if self._data.too_long == "split":
            written = list(self._split(written))
        chosen = [one.chosen for one in written]
        rejected = [one.rejected for one in written if one.rejected]
        samples = [one.placed.sample for one in written]
        if any(sample.images for sample in samples):
            return self._with_images(chosen, rejected, samples)
        sides = [self._encoder.encode(side) for side in (chosen, *([rejected] if rejected else []))]
        better, *worse = cut_sides(sides, self._data, self._counts)
        return SampleBatch(better, worse[0] if worse else None, samples)

    def _with_images(
        self, chosen: Sequence[Rendered], worse: Sequence[Rendered], samples: Sequence[Sample]
    ) -> SampleBatch:
        batch = self._encoder.encode(chosen)
        if worse:
            # Both sides show the same images, so neither is cut: what is too long is left out.
            return SampleBatch(batch, self._encoder.encode(worse), samples)
        ids = self._writer.image_ids
        return SampleBatch(*fitted_with_images(batch, samples, self._data, self._counts, ids))

    def _written(self, placed: PlacedSample) -> _Written | None:
        try:
            placed = self._writer.placed(placed)
            chosen = self._writer.write(placed.sample)
            worse = placed.sample.rejected and self._writer.write_rejected(placed.sample)
            self._counts.num_left_out += chosen.num_left_out
            return _Written(placed, chosen, worse or None)
        except ValueError as error:
            self._bad.add(placed.row, error)
            return None

    def _split(self, written: Sequence[_Written]) -> Iterator[_Written]:
        """The dialogues, those that are longer than a row as several."""
        lengths = lengths_of(self._encoder.encode([one.chosen for one in written]))
        for one, length in zip(written, lengths.tolist(), strict=True):
            if length <= self._data.sequence_length or not can_split(one.placed.sample):
                yield one
                continue
            # What the template leaves out is counted piece by piece.
            self._counts.num_left_out -= one.chosen.num_left_out
            try:
                parts = split_by_tokens(one.placed.sample, self._writer, self._data)
            except ValueError as error:
                self._bad.add(one.placed.row, error)
                continue
            self._counts.num_too_long += parts.num_too_long
            self._counts.num_truncated += parts.num_truncated
            self._counts.num_split += len(parts.samples) + parts.num_too_long - 1
            pieces = (PlacedSample(one.placed.row, sample) for sample in parts.samples)
            yield from filter(None, map(self._written, pieces))

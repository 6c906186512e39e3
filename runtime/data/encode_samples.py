"""Samples rendered, encoded and made to fit."""

from collections.abc import Sequence
from dataclasses import replace

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Data
from fsft.runtime.data.encode import Encoder, TokenBatch
from fsft.runtime.data.fitting import fitted
from fsft.runtime.data.images.expand import ImageTexts
from fsft.runtime.data.images.family import IMAGE_TEXTS
from fsft.runtime.data.images.fitting import fitted_with_images
from fsft.runtime.data.parts import Part, lines_before
from fsft.runtime.data.render import Rendered, render
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.samples import PlacedSample, SourceCounts
from fsft.runtime.data.text_tokenizer import TextTokenizer

NO_IMAGES = f"the row has images, which the model does not take; {', '.join(IMAGE_TEXTS)} do"


class SampleEncoder:
    """Encodes the samples of one part; what cannot be rendered is added to the counts."""

    def __init__(
        self,
        part: Part,
        data: Data,
        tokenizer: TextTokenizer,
        encoder: Encoder,
        counts: SourceCounts,
        images: ImageTexts | None = None,
    ) -> None:
        """`images` writes the images of the source, for a model that takes them."""
        self._part, self._data, self._counts = part, data, counts
        self._tokenizer, self._encoder = tokenizer, encoder
        self._images = images

    def encode(self, window: Sequence[PlacedSample]) -> SampleBatch:
        """The samples in order. Raises Refused where one cannot be used and data.on_error stops."""
        usable: list[Sample] = []
        chosen: list[Rendered] = []
        rejected: list[Rendered] = []
        for placed in window:
            try:
                sample = self._placed(placed)
                sides = self._rendered(sample)
            except ValueError as error:
                self._give_up(placed, error)
                continue
            usable.append(sample)
            chosen.append(sides[0])
            rejected += sides[1:]
        if any(sample.images for sample in usable):
            return self._with_images(chosen, rejected, usable)
        return SampleBatch(
            self._encoded(chosen), self._encoded(rejected) if rejected else None, usable
        )

    def _with_images(
        self, chosen: Sequence[Rendered], rejected: Sequence[Rendered], samples: Sequence[Sample]
    ) -> SampleBatch:
        batch = self._encoder.encode(chosen)
        if rejected:
            # Both sides show the same images, so neither is cut: what is too long is left out.
            return SampleBatch(batch, self._encoder.encode(rejected), samples)
        assert self._images is not None
        fitting, samples = fitted_with_images(
            batch, samples, self._data, self._counts, self._images.ids
        )
        return SampleBatch(fitting, None, samples)

    def _placed(self, placed: PlacedSample) -> Sample:
        """The sample with its images as they are named from the folder of all."""
        if not placed.sample.images:
            return placed.sample
        if self._images is None:
            raise ValueError(NO_IMAGES)
        return self._images.placed(placed.sample, placed.row.file)

    def _rendered(self, sample: Sample) -> list[Rendered]:
        sides = [replace(sample, rejected=())]
        if sample.rejected:
            sides.append(replace(sample, messages=sample.rejected, rejected=()))
        return [self._render(side) for side in sides]

    def _render(self, sample: Sample) -> Rendered:
        if not sample.images or self._images is None:
            return render(sample, self._tokenizer, self._data)
        rendered = render(self._images.written(sample), self._tokenizer, self._data)
        return self._images.expanded(rendered, sample.images)

    def _encoded(self, rendered: Sequence[Rendered]) -> TokenBatch:
        return fitted(self._encoder.encode(rendered), self._data, self._counts)

    def _give_up(self, placed: PlacedSample, error: ValueError) -> None:
        self._counts.num_broken += 1
        if self._data.on_error == "stop":
            raise Refused(placed.row.problem(str(error), lines_before(self._part))) from None

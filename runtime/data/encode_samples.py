"""Samples rendered, encoded and made to fit."""

from collections.abc import Sequence
from dataclasses import replace

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Data
from fsft.runtime.data.encode import Encoder, TokenBatch
from fsft.runtime.data.fitting import fitted
from fsft.runtime.data.parts import Part, lines_before
from fsft.runtime.data.render import Rendered, render
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.samples import PlacedSample, SourceCounts
from fsft.runtime.data.text_tokenizer import TextTokenizer


class SampleEncoder:
    """Encodes the samples of one part; what cannot be rendered is added to the counts."""

    def __init__(
        self,
        part: Part,
        data: Data,
        tokenizer: TextTokenizer,
        encoder: Encoder,
        counts: SourceCounts,
    ) -> None:
        self._part, self._data, self._counts = part, data, counts
        self._tokenizer, self._encoder = tokenizer, encoder

    def encode(self, window: Sequence[PlacedSample]) -> SampleBatch:
        """The samples in order. Raises Refused where one cannot be used and data.on_error stops."""
        usable: list[Sample] = []
        chosen: list[Rendered] = []
        rejected: list[Rendered] = []
        for placed in window:
            try:
                sides = self._rendered(placed.sample)
            except ValueError as error:
                self._give_up(placed, error)
                continue
            usable.append(placed.sample)
            chosen.append(sides[0])
            rejected += sides[1:]
        return SampleBatch(
            self._encoded(chosen), self._encoded(rejected) if rejected else None, usable
        )

    def _rendered(self, sample: Sample) -> list[Rendered]:
        sides = [replace(sample, rejected=())]
        if sample.rejected:
            sides.append(replace(sample, messages=sample.rejected, rejected=()))
        return [render(side, self._tokenizer, self._data) for side in sides]

    def _encoded(self, rendered: Sequence[Rendered]) -> TokenBatch:
        return fitted(self._encoder.encode(rendered), self._data, self._counts)

    def _give_up(self, placed: PlacedSample, error: ValueError) -> None:
        self._counts.num_broken += 1
        if self._data.on_error == "stop":
            raise Refused(placed.row.problem(str(error), lines_before(self._part))) from None

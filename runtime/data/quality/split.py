"""Gathering what is told of one split, window by window."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.quality.duplicates import Pair, Repeats, SeenTexts, Sketched, sketch
from fsft.runtime.data.quality.findings import find_hints
from fsft.runtime.data.quality.languages import language_of
from fsft.runtime.data.quality.lengths import measure
from fsft.runtime.data.quality.result import Finding, SplitQuality
from fsft.runtime.data.quality.texts import PlacedText, Reading, read_texts

WINDOW = 1024
EXAMPLES = 20
"""Of each kind of finding that are kept; all are counted."""

CountTokens = Callable[[Sequence[str]], list[int]]
TOKENIZED = 20_000
"""Samples of a split whose tokens are counted, which takes longest of all."""


class SplitCheck:
    """What is known of a split so far."""

    def __init__(self, name: str, count_tokens: CountTokens | None) -> None:
        self.seen = SeenTexts()
        self._name = name
        self._count_tokens = count_tokens
        self._num: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._hints: Counter[str] = Counter()
        self._findings: list[Finding] = []
        self._duplicates: list[Pair] = []
        self._characters: list[int] = []
        self._turns: list[int] = []
        self._tokens: list[int] = []

    def add(self, window: Sequence[PlacedText]) -> list[Sketched]:
        """Look at samples; returns what can be compared with other splits."""
        self._characters += [text.num_characters for text in window]
        self._turns += [text.num_turns for text in window]
        self._languages.update(language_of(text.text) for text in window)
        if self._count_tokens and len(self._tokens) < TOKENIZED:
            self._tokens += self._count_tokens([text.text for text in window])
        for text in window:
            self._search(text)
        sketched = sketch([text.place for text in window], [text.text for text in window])
        self._repeats(sketched, self.seen.add(sketched))
        return sketched

    def result(self, sources: Sequence[Reading]) -> SplitQuality:
        """What was found out."""
        lengths = (
            measure("characters", self._characters),
            measure("turns", self._turns),
            measure("tokens", self._tokens),
        )
        return SplitQuality(
            name=self._name,
            sources=tuple(sources),
            num_samples=len(self._characters),
            num_exact=self._num["exact"],
            num_near=self._num["near"],
            duplicates=tuple(self._duplicates),
            languages=dict(self._languages.most_common()),
            lengths=tuple(length for length in lengths if length),
            hints=dict(self._hints.most_common()),
            findings=tuple(self._findings),
        )

    def _search(self, text: PlacedText) -> None:
        hints = list(find_hints(text.text))
        for hint in hints:
            if self._hints[hint.kind] < EXAMPLES:
                self._findings.append(Finding(hint.kind, hint.group, text.place, hint.shown))
        self._hints.update({hint.kind for hint in hints})

    def _repeats(self, sketched: Sequence[Sketched], repeats: Repeats) -> None:
        for kind, found in (("exact", repeats.exact), ("near", repeats.near)):
            for text, of in zip(sketched, found, strict=True):
                if of is not None:
                    self._num[kind] += 1
                    if self._num[kind] <= EXAMPLES:
                        self._duplicates.append(Pair(text.place, of, kind == "exact"))


def windows(
    sources: Sequence[Source], data: Data, most: int, readings: list[Reading]
) -> Iterator[list[PlacedText]]:
    """The texts of at most `most` samples, a like number of each source where there are more."""
    left = most
    for index, source in enumerate(sources):
        reading = Reading(source.path)
        readings.append(reading)
        texts = read_texts(source, data, left // (len(sources) - index), reading)
        while window := list(islice(texts, WINDOW)):
            yield window
        left -= reading.num_samples

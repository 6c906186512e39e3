"""The text of samples, with its place, in the form in which texts are compared."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import SourceCounts, read_samples

MOST_CHARACTERS = 20_000
"""Of a sample that are looked at; what makes a sample bad shows before."""


@dataclass(frozen=True)
class Place:
    """Where a sample comes from."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class PlacedText:
    """The text of a sample, cut to MOST_CHARACTERS; num_characters counts all of it."""

    place: Place
    text: str
    num_characters: int
    num_turns: int
    """1 for a plain text."""


@dataclass
class Reading:
    """What was read of a source; is_whole is False where more was left."""

    path: str
    num_samples: int = 0
    is_whole: bool = True


def read_texts(source: Source, data: Data, most: int, reading: Reading) -> Iterator[PlacedText]:
    """The texts of the first `most` samples of a source; what was read is told to `reading`.

    Raises Refused where the source cannot be read.
    """
    counts = SourceCounts(source.path, source.format)
    for placed in read_samples(source, data, counts):
        if reading.num_samples == most:
            reading.is_whole = False
            return
        reading.num_samples += 1
        text = whole_text(placed.sample)
        yield PlacedText(
            Place(source.path, placed.row.line),
            text[:MOST_CHARACTERS],
            len(text),
            max(1, len(placed.sample.messages)),
        )


def whole_text(sample: Sample) -> str:
    """All that a sample says, a turn a line."""
    turns = [message["content"] for message in (*sample.messages, *sample.rejected)]
    return "\n".join([*turns, sample.text] if sample.text else turns)


def normalized(text: str) -> str:
    """The text without what makes no difference: width of characters, case, spacing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

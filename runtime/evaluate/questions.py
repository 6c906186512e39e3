"""The questions that a dialogue holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from fsft.runtime.data.sample import IMAGE_TAG, Message, Sample


@dataclass(frozen=True)
class Question:
    """The turns up to an answer, and that answer."""

    messages: tuple[Message, ...]
    expected: str
    images: tuple[str, ...] = ()
    """The images that the turns show."""

    @property
    def text(self) -> str:
        """What the person says last, for people to read."""
        return self.messages[-1]["content"] if self.messages else ""


def questions_of(sample: Sample) -> Iterator[Question]:
    """One question for each assistant turn, with everything said before it."""
    for index, message in enumerate(sample.messages):
        if message["role"] == "assistant" and message["content"].strip():
            turns = sample.messages[:index]
            number = sum(turn["content"].count(IMAGE_TAG) for turn in turns)
            yield Question(turns, message["content"].strip(), sample.images[:number])

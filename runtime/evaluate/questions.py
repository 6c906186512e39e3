"""The questions that a dialogue holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fsft.runtime.data.sample import IMAGE_TAG, Message, Sample


@dataclass(frozen=True)
class Question:
    """The turns up to an answer, and that answer."""

    messages: tuple[Message, ...]
    expected: str
    tools: tuple[dict[str, Any], ...] = ()
    """As in Sample: what the model may call."""
    images: tuple[str, ...] = ()
    """Where the images are that the turns show."""

    @property
    def text(self) -> str:
        """What was said last, for people to read."""
        return str(self.messages[-1]["content"]) if self.messages else ""


def questions_of(sample: Sample) -> Iterator[Question]:
    """One question for each answer that is learned, with everything said before it.

    Answers that are not learned (weight 0, or people did not like them), that call tools, or that
    both dialogues of a preference begin with, are not asked for. Reasoning is not expected.
    """
    if sample.is_good is False:
        return
    first = sample.num_shared if sample.rejected else 0
    for index, message in enumerate(sample.messages):
        is_asked = index >= first and message["role"] == "assistant" and message.get("weight") != 0
        if is_asked and message["content"].strip() and not message.get("tool_calls"):
            turns = sample.messages[:index]
            images = sample.images[: sum(turn["content"].count(IMAGE_TAG) for turn in turns)]
            yield Question(turns, message["content"].strip(), sample.tools, images)

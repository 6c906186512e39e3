"""What a dialogue must look like before it is rendered: whose turn follows whose, and how long."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fsft.runtime.data.sample import IMAGE_TAG, Message, Sample, is_learnable


@dataclass(frozen=True)
class Tidied:
    """A sample whose turns are in order, and how many turns that took."""

    sample: Sample
    num_merged: int = 0
    """Turns that were joined to the one before, as both had the same role."""
    num_trailing_dropped: int = 0
    """Turns at the end that nobody answers."""


@dataclass(frozen=True)
class Parts:
    """What an over-long dialogue was split into."""

    samples: list[Sample]
    num_too_long: int = 0
    """Exchanges that are longer than a row by themselves, and were left out."""
    num_truncated: int = 0
    """Samples whose earlier turns are in no other sample."""


def tidied(sample: Sample) -> Tidied:
    """The sample with neighbours of one role merged, and turns after the last answer dropped.

    Joined texts are parted by a newline. Turns are not joined where they call tools, answer calls,
    or differ in weight. A dialogue without any answer stays as it is: it is empty, see
    `Sample.is_empty`.
    """
    messages, num_merged = _merged(sample.messages)
    messages, num_dropped = _answered(messages)
    rejected, num_merged_worse = _merged(sample.rejected)
    rejected, num_dropped_worse = _answered(rejected)
    if not any((num_merged, num_dropped, num_merged_worse, num_dropped_worse)):
        return Tidied(sample)
    images = sample.images[: _num_images(messages)] if num_dropped else sample.images
    return Tidied(
        replace(sample, messages=messages, rejected=rejected, images=images),
        max(num_merged, num_merged_worse),
        max(num_dropped, num_dropped_worse),
    )


def split(
    sample: Sample,
    sequence_length: int,
    count_tokens: Callable[[Sample], int],
    *,
    last_answer_only: bool = False,
) -> Parts:
    """An over-long dialogue as several, each of at most `sequence_length` tokens.

    A new one begins where the user speaks. It keeps system turns and tools, and as history as many
    of the turns before as take up at most half of the row; history is not learned again, so that
    every answer is learned once. `last_answer_only` keeps the one that ends with the last answer;
    earlier turns that it has no room for are cut off.
    """
    dialogue = _Dialogue(sample)

    def fits(oldest: int, first: int, end: int, room: int = sequence_length) -> bool:
        return count_tokens(dialogue.part(oldest, first, end)) <= room

    samples: list[Sample] = []
    num_too_long = num_truncated = 0
    number = len(dialogue.exchanges)
    first = number - 1 if last_answer_only else 0
    while first < number:
        oldest, end = first, first + 1
        while oldest > 0 and fits(oldest - 1, first, first, room=sequence_length // 2):
            oldest -= 1
        while oldest < first and not fits(oldest, first, end):
            oldest += 1
        if fits(oldest, first, end):
            while end < number and fits(oldest, first, end + 1):
                end += 1
            samples.append(dialogue.part(oldest, first, end))
            num_truncated += last_answer_only and oldest > 0
        else:
            num_too_long += 1
        first = end
    return Parts(samples, num_too_long, num_truncated)


class _Dialogue:
    """A sample as its leading system turns and the exchanges after them."""

    def __init__(self, sample: Sample) -> None:
        roles = [message["role"] for message in sample.messages]
        begin = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
        starts = [begin, *(i for i in range(begin + 1, len(roles)) if roles[i] == "user")]
        self.sample = sample
        self.system = range(begin)
        self.exchanges = [range(*ends) for ends in pairwise([*starts, len(roles)])]

    def part(self, oldest: int, first: int, end: int) -> Sample:
        """The exchanges from `oldest` to before `end`, of which those from `first` on are new."""
        history = [i for exchange in self.exchanges[oldest:first] for i in exchange]
        new = [i for exchange in self.exchanges[first:end] for i in exchange]
        known = {*history, *(self.system if first else ())}
        messages = self.sample.messages
        return replace(
            self.sample,
            messages=tuple(
                {**messages[i], "weight": 0} if i in known else messages[i]
                for i in (*self.system, *history, *new)
            ),
            images=tuple(self._images((*self.system, *history, *new))),
        )

    def _images(self, turns: Sequence[int]) -> Iterator[str]:
        """The images that the turns show; those of a dialogue are in the order of all its turns."""
        if not self.sample.images:
            return
        numbers = [message["content"].count(IMAGE_TAG) for message in self.sample.messages]
        for turn in turns:
            start = sum(numbers[:turn])
            yield from self.sample.images[start : start + numbers[turn]]


def _merged(messages: Sequence[Message]) -> tuple[tuple[Message, ...], int]:
    joined: list[Message] = []
    for message in messages:
        if joined and _joins(joined[-1], message):
            joined[-1] = _join(joined[-1], message)
        else:
            joined.append(message)
    return tuple(joined), len(messages) - len(joined)


def _joins(one: Message, other: Message) -> bool:
    if one["role"] != other["role"] or one["role"] == "tool":
        return False
    return "tool_calls" not in one and one.get("weight") == other.get("weight")


def _join(one: Message, other: Message) -> Message:
    fields = ("content", "reasoning_content")
    texts = {name: [turn[name] for turn in (one, other) if turn.get(name)] for name in fields}
    return {
        **one,
        **other,
        **{name: "\n".join(parts) for name, parts in texts.items() if parts or name == "content"},
    }


def _answered(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], int]:
    """The turns through the last one that is an answer, or learned all the same."""
    for end in range(len(messages), 0, -1):
        if messages[end - 1]["role"] == "assistant" or is_learnable(messages[end - 1]):
            return messages[:end], len(messages) - end
    return messages, 0


def _num_images(messages: Sequence[Message]) -> int:
    return sum(message["content"].count(IMAGE_TAG) for message in messages)

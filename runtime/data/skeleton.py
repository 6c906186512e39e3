"""Where the turns of a dialogue stand in the text that a chat template makes of it.

The template writes the dialogue once with marks for its texts. What stands between the marks is
the template's own; the model writes what follows the prompt that it is given, through the token
that ends its turn. Dialogues of the same roles share a skeleton, so that each of them is written
but once, and compared: where the text is another one, the skeleton does not hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, takewhile
from typing import Any

from fsft.runtime.data.chat_template import ChatTemplate
from fsft.runtime.data.marks import MARK, Marked
from fsft.runtime.data.sample import says_something

Place = tuple[int, int]
"""A gap between marks, and the number of characters into it."""

Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True)
class Skeleton:
    """A dialogue as a template writes it, without its texts."""

    gaps: tuple[str, ...]
    """What the template writes before, between and after the marks."""
    order: tuple[int, ...]
    """The marks as they follow each other; one may be missing, or be there twice."""
    answers: Mapping[int, tuple[Place, Place]]
    """What the model writes in a turn, by index of the turn; hidden answers are missing."""
    turns: Mapping[int, tuple[Place, Place]]
    """The text of a turn with the token that ends it, whoever speaks."""

    def fill(self, texts: Sequence[str]) -> str:
        """The text with `texts` in place of the marks."""
        pieces = ((gap, texts[mark]) for gap, mark in zip(self.gaps, self.order, strict=False))
        return "".join(chain.from_iterable(pieces)) + self.gaps[-1]

    def spans(self, texts: Sequence[str]) -> "Spans":
        """Spans of turns in the filled text."""
        pairs = zip(self.gaps, self.order, strict=False)
        lengths = (len(gap) + len(texts[mark]) for gap, mark in pairs)
        starts = list(accumulate(lengths, initial=0))
        num_left_out = len(texts) - len(set(self.order))
        return Spans(_filled(self.answers, starts), _filled(self.turns, starts), num_left_out)


@dataclass(frozen=True)
class Spans:
    """Where turns stand in a text, by index; what the template hides is missing."""

    answers: Mapping[int, Span]
    """What the model writes in a turn."""
    turns: Mapping[int, Span]
    """The text of a turn with the token that ends it."""
    num_left_out: int = 0
    """Texts that the template leaves out: reasoning, most often, or turns of a role it ignores."""


def _filled(places: Mapping[int, tuple[Place, Place]], starts: Sequence[int]) -> dict[int, Span]:
    return {
        turn: (starts[first] + start, starts[last] + end)
        for turn, ((first, start), (last, end)) in places.items()
    }


def skeleton_of(template: ChatTemplate, dialogue: Marked, tools: Sequence[Any]) -> Skeleton:
    """The skeleton of a marked dialogue; raises ValueError where an answer cannot be told."""
    return _Builder(template, dialogue, tools).build()


class _Builder:
    def __init__(self, template: ChatTemplate, dialogue: Marked, tools: Sequence[Any]) -> None:
        self.template, self.dialogue, self.tools = template, dialogue, tools
        self.text = template.write(dialogue.messages, tools)
        self.gaps, self.order = _parted(self.text)
        if any(mark >= len(dialogue.owners) for mark in self.order):
            raise ValueError("the dialogue holds text that looks like the marks of fsft")
        self.known: dict[tuple[str, str, int], tuple[int, int]] = {}

    def build(self) -> Skeleton:
        places: dict[int, list[int]] = {}
        for place, mark in enumerate(self.order):
            places.setdefault(self.dialogue.owners[mark], []).append(place)
        answers, turns = {}, {}
        for index, message in enumerate(self.dialogue.messages):
            if index in places:
                first, last = places[index][0], places[index][-1] + 1
                turns[index] = (first, len(self.gaps[first])), (last, self._closing(last))
            if message["role"] != "assistant":
                continue
            if index in places:
                answers[index] = self._answer(index, first, last)
            elif (found := self._bare_answer(index)) is not None:
                answers[index] = found
        return Skeleton(tuple(self.gaps), tuple(self.order), answers, turns)

    def _answer(self, index: int, first: int, last: int) -> tuple[Place, Place]:
        """The answer with marks in the gaps from `first` to `last`.

        Answers between the same texts of the template are alike: the first of them is looked at.
        """
        before, after = self.gaps[first], self.gaps[last]
        key = (before, after, last - first)
        if key not in self.known:
            self.known[key] = self._ends(index, before, after)
        start, end = self.known[key]
        return (first, start), (last, end)

    def _ends(self, index: int, before: str, after: str) -> tuple[int, int]:
        """Where an answer begins in the gap before it, and ends in the one after it."""
        asked, answered = self._asked(index), self._answered(index)
        head, tail = _parted(asked)[0][-1], _parted(answered)[0][-1]
        return self._behind_prompt(index, head, before), self._through_end(index, tail, after)

    def _behind_prompt(self, index: int, head: str, before: str) -> int:
        """How much of the gap before an answer is given to the model; its prompt ends with `head`.

        A prompt may end with more than the template writes later, as "<think>" of DeepSeek-R1: then
        what both share is given, through a special token.
        """
        shared = _shared(head, before)
        if shared in (head, before):
            return len(shared)
        ends = [match.end() for match in self.template.end_token.finditer(shared)]
        if not ends or not self.dialogue.hides_texts:
            raise _untold(index, "what stands before it is no prompt that the model is ever given")
        return ends[-1]

    def _through_end(self, index: int, tail: str, after: str) -> int:
        """How much of the gap after an answer belongs to it.

        `tail` is what the template writes after it when no turn follows. Where it then writes
        something else, what both share belongs to it, through a special token.
        """
        token, shared = self.template.end_token, _shared(tail, after)
        end = max((match.end() for match in token.finditer(shared)), default=0)
        if shared == tail:
            return end if end and not tail[end:].strip() else len(tail)
        if token.sub("", tail[end:]).strip():
            raise _untold(index, "the template writes it differently once more turns follow")
        return end

    def _bare_answer(self, index: int) -> tuple[Place, Place] | None:
        """An answer none of whose text is marked here; None where there is nothing to learn."""
        asked, answered = self._asked(index), self._answered(index)
        own = {mark for mark, owner in enumerate(self.dialogue.owners) if owner == index}
        if own.intersection(_parted(answered)[1]):
            raise _untold(index, "the template leaves it out once more turns follow")
        if not says_something(self.dialogue.messages[index]):
            return None
        if not answered.startswith(asked) or not self.text.startswith(answered):
            raise _untold(index, "the template writes it differently once more turns follow")
        gaps = _parted(asked)[0]
        gap, start = len(gaps) - 1, len(gaps[-1])
        length = self._through_end(index, answered[len(asked) :], self.text[len(asked) :])
        return (gap, start), (gap, start + length)

    def _closing(self, gap: int) -> int:
        """The token at the start of a gap that ends a turn; 0 where there is none."""
        text = self.gaps[gap]
        match = self.template.end_token.match(text, len(text) - len(text.lstrip()))
        return match.end() if match else 0

    def _asked(self, index: int) -> str:
        return self.template.write(self.dialogue.messages[:index], self.tools, asks=True)

    def _answered(self, index: int) -> str:
        return self.template.write(self.dialogue.messages[: index + 1], self.tools)


def _parted(text: str) -> tuple[list[str], list[int]]:
    """The text between the marks, and the numbers of the marks."""
    pieces = MARK.split(text)
    return pieces[::2], [int(number) for number in pieces[1::2]]


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    if other.startswith(one):
        return one
    return "".join(a for a, _ in takewhile(lambda p: p[0] == p[1], zip(one, other, strict=False)))


def _untold(index: int, reason: str) -> ValueError:
    return ValueError(f"the answer in turn {index + 1} cannot be told from the rest: {reason}")

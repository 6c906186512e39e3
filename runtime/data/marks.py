"""Dialogues with their texts replaced by marks, to see where a chat template puts each of them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsft.runtime.data.sample import Message

MARK = re.compile(r"Mq7Zx(\d+)xZ")
"""A mark: letters and digits alone, so that no filter of a template changes it."""

_TAGS = re.compile(r"(</?think>)")
_CORE = re.compile(r"\S(?:.*\S)?", re.DOTALL)


@dataclass
class Marked:
    """A dialogue whose texts are marks, and what stood in their place."""

    messages: list[Message] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """Text by number of mark; blanks around it stay outside, as templates may strip them."""
    owners: list[int] = field(default_factory=list)
    """Index of the turn, by number of mark."""

    @property
    def hides_texts(self) -> bool:
        """Whether no text of a turn is left without a mark."""
        return all(MARK.search(m["content"]) for m in self.messages if m["content"].strip())

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for dialogues that differ in nothing but the texts under the marks."""
        return tuple(
            (message["role"], message["content"], *_others(message)) for message in self.messages
        )


def marked(messages: Sequence[Message], covers: Callable[[Message], bool]) -> Marked:
    """The dialogue with marks for texts, reasoning and names of called tools in covered turns."""
    result = Marked()
    for index, message in enumerate(messages):
        if covers(message):
            result.messages.append(_marked_turn(message, index, result))
        else:
            result.messages.append(message)
    return result


def _marked_turn(message: Message, index: int, result: Marked) -> Message:
    def put(match: re.Match[str]) -> str:
        result.texts.append(match[0])
        result.owners.append(index)
        return f"Mq7Zx{len(result.texts) - 1}xZ"

    def mark(text: str) -> str:
        """Tags around reasoning stay, as templates look for them."""
        if "think>" not in text:
            return _CORE.sub(put, text)
        pieces = _TAGS.split(text)
        return "".join(p if _TAGS.fullmatch(p) else _CORE.sub(put, p) for p in pieces)

    def named(call: dict[str, Any]) -> dict[str, Any]:
        return {**call, "function": {**call["function"], "name": mark(call["function"]["name"])}}

    copy = {**message}
    if "reasoning_content" in message:
        copy["reasoning_content"] = mark(message["reasoning_content"])
    copy["content"] = mark(message["content"])
    if "tool_calls" in message:
        copy["tool_calls"] = [named(call) for call in message["tool_calls"]]
    return copy


def _others(message: Message) -> tuple[str, ...]:
    """The other fields of a turn as text; most turns have none."""
    if len(message) == 2:
        return ()
    names = sorted(message.keys() - {"role", "content", "weight"})
    return tuple(f"{name}={message[name]!r}" for name in names)

"""What one row teaches, whatever shape it was written in."""

from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
"""One turn, as chat templates take it: `role` (system, user, assistant, tool) and `content` (text).

A turn may also have `tool_calls`, `tool_call_id`, `name`, `reasoning_content`, and `weight`: 0
where the turn is not learned, 1 where it is, whoever speaks.
"""

IMAGE_TAG = "<image>"
"""Where an image stands in the text."""


@dataclass(frozen=True)
class Sample:
    """The turns of a dialogue, or plain text, and what some methods need besides."""

    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    """JSON Schemas of the functions that the assistant may call."""
    rejected: tuple[Message, ...] = ()
    """The same dialogue with the worse answer, where `messages` has the better one."""
    is_good: bool | None = None
    """Whether people liked the answer, where each was rated alone."""
    category: int | None = None
    """A class that the row belongs to, kept with its tokens."""
    images: tuple[str, ...] = ()
    """Image files or URLs, in the order in which the text refers to them by <image>."""

    @property
    def is_empty(self) -> bool:
        """There is nothing to learn: no text, and no answer that says anything."""
        return not self.text.strip() and not any(
            is_learnable(message) and says_something(message) for message in self.messages
        )

    @property
    def num_characters(self) -> int:
        """About how much text there is."""
        return len(self.text) + sum(len(m["content"]) for m in (*self.messages, *self.rejected))

    @property
    def num_shared(self) -> int:
        """Turns with which the better and the worse dialogue begin alike: their question."""
        number = 0
        for better, worse in zip(self.messages, self.rejected, strict=False):
            if better != worse:
                break
            number += 1
        return number


def is_learnable(message: Message) -> bool:
    """Whether a turn is one of those that are learned when the recipe asks for answers."""
    return bool(message.get("weight", message["role"] == "assistant"))


def says_something(message: Message) -> bool:
    """Whether a turn holds text that is not blank, or calls a tool."""
    return bool(
        message["content"].strip()
        or message.get("tool_calls")
        or message.get("reasoning_content", "").strip()
    )

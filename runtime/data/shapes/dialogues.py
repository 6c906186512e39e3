"""Rows that hold a list of turns: OpenAI messages, ShareGPT, and lists of single-key objects."""

from collections.abc import Mapping
from typing import Any

from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.shapes.fields import as_list, as_text, from_json, has, kind, optional_text
from fsft.runtime.data.shapes.images import placed_images, row_images
from fsft.runtime.data.shapes.turns import read_turn, tool_calls, tool_list, turn

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}


def from_messages(row: Mapping[str, Any]) -> Sample:
    """OpenAI's shape: messages with role and content, and tools beside them."""
    return _sample(row, *read_turns(row["messages"]))


def from_sharegpt(row: Mapping[str, Any]) -> Sample:
    """ShareGPT's shape: conversations with from and value; system and tools beside them."""
    return _sample(row, *read_turns(row["conversations"]))


def from_single_keys(row: Any) -> Sample:
    """A list of objects with the role as their one key, alone or under conversation.

    A turn is text, or a list of a text and the images in it. `category` is a whole number.
    """
    under_key = isinstance(row, Mapping)
    values = as_list(row["conversation"] if under_key else row, "conversation")
    messages: list[Message] = []
    images: list[str] = []
    shows_images = False
    for number, value in enumerate(values, start=1):
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError(f"turn {number} must be an object with one key, the role")
        ((role, content),) = value.items()
        if role not in ROLES:
            raise ValueError(
                f"turn {number} has the unknown role {role!r}; known: {', '.join(ROLES)}"
            )
        if isinstance(content, list | tuple):
            shows_images = True
            texts = [as_text(one, f"part {n} of turn {number}") for n, one in enumerate(content, 1)]
            if not texts:
                raise ValueError(f"turn {number} is an empty list")
            content, *named = texts
            images.extend(named)
        messages.append(turn(ROLES[role], as_text(content, f"turn {number}")))
    if not messages:
        raise ValueError("a dialogue must have at least one turn")
    beside = row if under_key else {}
    in_row = tuple(images) if shows_images else row_images(beside)
    return Sample(
        messages=tuple(messages),
        tools=tool_list(beside.get("tools")),
        category=_category(beside.get("category")),
        images=placed_images(messages, (), in_row),
    )


def read_turns(value: Any) -> tuple[list[Message], list[str]]:
    """The turns of a list, with role and content or from and value, and the images they name."""
    values = as_list(value, "a dialogue")
    if not values:
        raise ValueError("a dialogue must have at least one turn")
    messages: list[Message] = []
    images: list[str] = []
    for number, one in enumerate(values, start=1):
        if has(one, "from"):
            message, named = read_turn(one, number, keys=("from", "value"), roles=SHAREGPT_ROLES)
            if one["from"] == "function_call":
                message["tool_calls"] = _calls(message["content"], number)
                message["content"] = ""
        else:
            message, named = read_turn(one, number, keys=("role", "content"), roles=ROLES)
        messages.append(message)
        images.extend(named)
    return messages, images


def with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """The turns, after the row's system text where it has one."""
    system = optional_text(row, "system")
    return [turn("system", system), *messages] if system else messages


def _sample(row: Mapping[str, Any], messages: list[Message], images: list[str]) -> Sample:
    messages = with_system(row, messages)
    return Sample(
        messages=tuple(messages),
        tools=tool_list(row.get("tools")),
        images=placed_images(messages, images, row_images(row)),
    )


def _calls(content: str, number: int) -> list[dict[str, Any]]:
    called = from_json(content, f"the function call of turn {number}")
    return tool_calls(called if isinstance(called, list) else [called], number)


def _category(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"category must be a whole number, not {kind(value)}")

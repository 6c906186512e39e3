"""Rows about which answer people liked: pairs of a better and a worse one, or one with a label."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.shapes.dialogues import (
    from_messages,
    from_sharegpt,
    read_turns,
    with_system,
)
from fsft.runtime.data.shapes.fields import has, has_any, kind
from fsft.runtime.data.shapes.images import placed_images, row_images
from fsft.runtime.data.shapes.pairs import alpaca_prompt, from_alpaca
from fsft.runtime.data.shapes.turns import tool_list, turn

_DIALOGUES = {"messages": from_messages, "conversations": from_sharegpt}
_PROMPTS = ("prompt", "messages", "conversations", "instruction")


def is_rated(row: Any) -> bool:
    """Whether a row holds an answer and whether people liked it."""
    if has(row, "prompt", "completion", "label"):
        return True
    answered = has_any(row, _DIALOGUES) or has(row, "instruction", "output")
    return answered and (has(row, "kto_tag") or isinstance(row.get("label"), bool))


def from_preference(row: Mapping[str, Any]) -> Sample:
    """A question with the better answer (chosen) and the worse one (rejected).

    An answer is text, a turn, or a list of turns; a list that begins with a question is the
    whole dialogue, and needs no other.
    """
    prompt, images = _prompt(row)
    better, worse = (_dialogue(row[name], name, prompt) for name in ("chosen", "rejected"))
    placed = placed_images(better, images, row_images(row))
    return Sample(
        messages=tuple(better),
        rejected=tuple(worse),
        tools=tool_list(row.get("tools")),
        images=placed,
    )


def from_rated(row: Mapping[str, Any]) -> Sample:
    """An answer and its label (or kto_tag): true where people liked it."""
    value = row["label"] if has(row, "label") else row["kto_tag"]
    if not isinstance(value, bool):
        raise ValueError(f"label must be true or false, not {kind(value)}")
    if has(row, "completion"):
        prompt, images = _prompt(row)
        messages = _dialogue(row["completion"], "completion", prompt)
        placed = placed_images(messages, images, row_images(row))
        sample = Sample(tuple(messages), tools=tool_list(row.get("tools")), images=placed)
    else:
        name = next((name for name in _DIALOGUES if has(row, name)), None)
        sample = _DIALOGUES[name](row) if name else from_alpaca(row)
    return replace(sample, is_good=value)


def _prompt(row: Mapping[str, Any]) -> tuple[list[Message], list[str]]:
    """The turns before the answer, and the images they name; none where the row has no prompt."""
    name = next((name for name in _PROMPTS if has(row, name)), None)
    if name is None:
        return [], []
    if name == "instruction":
        return alpaca_prompt(row), []
    if isinstance(row[name], str):
        return with_system(row, [turn("user", row[name])]), []
    messages, images = read_turns(row[name])
    return with_system(row, messages), images


def _dialogue(value: Any, name: str, prompt: list[Message]) -> list[Message]:
    if isinstance(value, str):
        answer = [turn("assistant", value)]
    elif isinstance(value, Mapping | list | tuple):
        answer, _ = read_turns([value] if isinstance(value, Mapping) else value)
    else:
        raise ValueError(f"{name} must be text or a list of turns, not {kind(value)}")
    if answer[-1]["role"] != "assistant":
        raise ValueError(f"{name} must end with a turn of the assistant")
    if answer[0]["role"] in ("system", "user"):
        return answer
    if not prompt:
        raise ValueError(f"{name} is an answer to nothing: the row needs a prompt")
    return [*prompt, *answer]

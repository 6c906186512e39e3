"""Rows that hold a question and an answer under names of their own, or a text."""

from collections.abc import Mapping
from typing import Any

from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.shapes.dialogues import with_system
from fsft.runtime.data.shapes.fields import as_list, as_text, has, optional_text, text_field
from fsft.runtime.data.shapes.images import placed_images, row_images
from fsft.runtime.data.shapes.turns import turn


def from_alpaca(row: Mapping[str, Any]) -> Sample:
    """Alpaca's shape: instruction, input, output; history and system before them."""
    return _answered(row, alpaca_prompt(row), text_field(row, "output"))


def from_prompt_answer(row: Mapping[str, Any]) -> Sample:
    """A prompt and its answer."""
    messages = with_system(row, [turn("user", text_field(row, "prompt"))])
    return _answered(row, messages, text_field(row, "answer"))


def from_seq2seq(row: Mapping[str, Any]) -> Sample:
    """A source and the target that it is to become."""
    messages = with_system(row, [turn("user", text_field(row, "source"))])
    return _answered(row, messages, text_field(row, "target"))


def from_text(row: Mapping[str, Any]) -> Sample:
    """A text without turns."""
    return Sample(text=text_field(row, "text"))


def alpaca_prompt(row: Mapping[str, Any]) -> list[Message]:
    """The turns of an Alpaca row up to its answer."""
    instruction, extra = text_field(row, "instruction"), optional_text(row, "input")
    asked = "\n".join(part for part in (instruction, extra) if part)
    messages = [*_history(row), turn("user", asked)]
    return with_system(row, messages)


def _history(row: Mapping[str, Any]) -> list[Message]:
    if not has(row, "history"):
        return []
    messages: list[Message] = []
    for number, pair in enumerate(as_list(row["history"], "history"), start=1):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"exchange {number} of history must be a list of question and answer")
        for role, value in zip(("user", "assistant"), pair, strict=True):
            messages.append(turn(role, as_text(value, f"exchange {number} of history")))
    return messages


def _answered(row: Mapping[str, Any], messages: list[Message], answer: str) -> Sample:
    messages = [*messages, turn("assistant", answer)]
    return Sample(messages=tuple(messages), images=placed_images(messages, (), row_images(row)))

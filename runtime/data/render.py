"""The text that a sample becomes, and the parts of it that are learned.

Where an answer begins and ends is known by rendering the dialogue up to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fsft.recipes.schema import Data
from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.text_tokenizer import TextTokenizer

Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True)
class Rendered:
    """The text that the tokenizer sees, and the parts of it that are learned."""

    text: str
    learned: tuple[Span, ...]


def render(sample: Sample, tokenizer: TextTokenizer, data: Data) -> Rendered:
    """The text of a sample and its learned spans; raises ValueError where the template cannot."""
    if sample.text:
        text = tokenizer.text_begin + sample.text + (tokenizer.eos_token or "")
        return Rendered(text, ((0, len(text)),))
    whole = _apply(tokenizer, sample.messages)
    if data.loss_on == "all":
        return Rendered(whole, ((0, len(whole)),))
    return Rendered(whole, tuple(_answer_spans(sample.messages, whole, tokenizer)))


def _answer_spans(messages: Sequence[Message], whole: str, tokenizer: TextTokenizer) -> list[Span]:
    spans = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _apply(tokenizer, messages[:index], add_generation_prompt=True)
        through = _apply(tokenizer, messages[: index + 1])
        if not whole.startswith(through):
            raise ValueError(
                f"the chat template writes turn {index + 1} differently once more turns follow, so "
                "its answer cannot be told from the rest"
            )
        start = _num_common(prompt, through)
        if start < len(through):
            spans.append((start, len(through)))
    return spans


def _num_common(one: str, other: str) -> int:
    """The number of characters with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _apply(
    tokenizer: TextTokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = False
) -> str:
    from jinja2 import TemplateError

    if not messages and not add_generation_prompt:
        return ""
    try:
        return str(
            _compiled(tokenizer.chat_template or "").render(
                messages=list(messages),
                add_generation_prompt=add_generation_prompt,
                **tokenizer.special_tokens,
            )
        )
    except TemplateError as error:
        raise ValueError(f"the chat template refuses the dialogue: {error}") from None


@lru_cache
def _compiled(template: str) -> Any:
    """As transformers compiles it when it serves the model."""
    from transformers.utils import chat_template_utils

    return chat_template_utils._compile_jinja_template(template)

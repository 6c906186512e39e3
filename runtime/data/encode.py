"""Samples as token ids, and which of them are learned.

The mask is exact for any chat template: where an answer begins and ends is known in the rendered
text, by rendering the dialogue up to it, and the tokenizer tells which characters a token covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fsft.recipes.schema import Data
from fsft.runtime.data.sample import Message, Sample

IGNORED = -100
"""The label of a token that is not learned, as in torch's cross entropy."""

Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one sample, int32, both of its length."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]

    @property
    def num_labels(self) -> int:
        """The number of tokens that are learned."""
        return int((self.labels != IGNORED).sum())


@dataclass(frozen=True)
class Rendered:
    """The text that the tokenizer sees, and the parts of it that are learned."""

    text: str
    learned: tuple[Span, ...]


def render(sample: Sample, tokenizer: Any, data: Data) -> Rendered:
    """The text of a sample and its learned spans; raises ValueError where the template cannot."""
    if sample.text:
        begins = tokenizer.bos_token_id in tokenizer("").input_ids
        text = (tokenizer.bos_token if begins else "") + sample.text + (tokenizer.eos_token or "")
        return Rendered(text, ((0, len(text)),))
    whole = _apply(tokenizer, sample.messages)
    if data.loss_on == "all":
        return Rendered(whole, ((0, len(whole)),))
    return Rendered(whole, tuple(_answer_spans(sample.messages, whole, tokenizer)))


def encode(rendered: Sequence[Rendered], tokenizer: Any) -> list[Encoded]:
    """The token ids of rendered samples; a token is learned when it touches a learned span."""
    if not rendered:
        return []
    tokens = tokenizer(
        [item.text for item in rendered],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    return [
        _labelled(ids, offsets, item.learned)
        for ids, offsets, item in zip(
            tokens["input_ids"], tokens["offset_mapping"], rendered, strict=True
        )
    ]


def _answer_spans(messages: Sequence[Message], whole: str, tokenizer: Any) -> list[Span]:
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
    tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False
) -> str:
    from jinja2 import TemplateError

    if not messages and not add_generation_prompt:
        return ""
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )
    except TemplateError as error:
        raise ValueError(f"the chat template refuses the dialogue: {error}") from None


def _labelled(ids: list[int], offsets: list[Span], learned: Sequence[Span]) -> Encoded:
    """The first token of a sample has nothing before it to be predicted from: never learned."""
    input_ids = np.asarray(ids, dtype=np.int32)
    places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    mask = np.zeros(len(input_ids), dtype=bool)
    for start, end in learned:
        mask |= (places[:, 0] < end) & (places[:, 1] > start)
    mask[:1] = False
    return Encoded(input_ids, np.where(mask, input_ids, IGNORED).astype(np.int32))

"""Samples for people to look at: as the model will see them, with what is learned."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fsft.recipes.schema import Data
from fsft.runtime.data.encode import IGNORED, Encoded, encode
from fsft.runtime.data.long import can_split, split_by_tokens
from fsft.runtime.data.preview import sample_shown
from fsft.runtime.data.render import render, render_rejected
from fsft.runtime.data.sample import Sample, is_learnable


@dataclass(frozen=True)
class ShownSample:
    """A sample as the model will see it."""

    path: str
    num_tokens: int | None
    segments: list[tuple[str, bool]]
    line: int = 0
    """As in rows.Row."""
    about: str = ""
    """Which answer of two it is, whether people liked it, its category and its images."""


@dataclass(frozen=True)
class Seen:
    """A sample as token ids: one, or both dialogues of a preference."""

    sample: Sample
    encoded: list[Encoded]
    num_tokens: int
    """Those that are trained on; 0 where `prepare` would leave the sample out."""

    def shown(self, path: str, line: int, tokenizer: Any) -> Iterator[ShownSample]:
        """What people see of it."""
        for about, one in zip(_about(self.sample), self.encoded, strict=True):
            segments = sample_shown(one, tokenizer).segments
            yield ShownSample(path, len(one.input_ids), segments, line, about)


def see(sample: Sample, tokenizer: Any, data: Data, template: str | None) -> Seen:
    """The sample as token ids; raises ValueError where the chat template cannot write it."""
    rendered = [render(sample, tokenizer, data, template)]
    if sample.rejected:
        rendered.append(render_rejected(sample, tokenizer, data, template))
    encoded = encode(rendered, tokenizer)
    is_long = len(encoded[0].input_ids) > data.sequence_length
    used = encoded[:1]
    if is_long and data.too_long == "split" and can_split(sample):
        parts = split_by_tokens(sample, tokenizer, data, template).samples
        used = encode([render(part, tokenizer, data, template) for part in parts], tokenizer)
    return Seen(sample, encoded, sum(_num_used(one, data) for one in used))


def as_written(sample: Sample, data: Data, path: str, line: int) -> Iterator[ShownSample]:
    """The sample as it is in the file, where there is no tokenizer."""
    texts = [[(sample.text, True)]]
    if not sample.text:
        texts = [
            [
                (
                    f"{message['role']}: {message['content']}\n",
                    data.loss_on == "all" or is_learnable(message),
                )
                for message in dialogue
            ]
            for dialogue in (sample.messages, sample.rejected)
            if dialogue
        ]
    for about, segments in zip(_about(sample), texts, strict=True):
        yield ShownSample(path, None, segments, line, about)


def shares(number: int, num_files: int) -> list[int]:
    """How many samples to show of each file: at least one, unless none is wanted."""
    if not number:
        return [0] * num_files
    return [max(1, (number + num_files - 1 - index) // num_files) for index in range(num_files)]


def _about(sample: Sample) -> list[str]:
    """Words about each dialogue of a sample, beside its text."""
    notes = []
    if sample.is_good is not None:
        notes.append("liked" if sample.is_good else "not liked")
    if sample.category is not None:
        notes.append(f"category {sample.category}")
    if sample.images:
        notes.append(f"images {', '.join(sample.images)}")
    answers = ["better answer", "worse answer"] if sample.rejected else [""]
    return [", ".join(filter(None, [answer, *notes])) for answer in answers]


def _num_used(one: Encoded, data: Data) -> int:
    if len(one.input_ids) > data.sequence_length and data.too_long != "truncate":
        return 0
    labels = one.labels[: data.sequence_length]
    return len(labels) if (labels != IGNORED).any() else 0

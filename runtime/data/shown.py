"""Samples for people to look at: as the model will see them, with what is learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import IGNORED, Encoded, Encoder
from fsft.runtime.data.long import can_split, split_by_tokens
from fsft.runtime.data.preview import sample_shown
from fsft.runtime.data.row import Row
from fsft.runtime.data.sample import Sample, is_learnable
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.shapes import renamed
from fsft.runtime.data.shapes.tokens import read_tokens


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

    def why_unused(self, data: Data) -> str:
        """Why a sample without tokens to train on is left out."""
        longest = max(len(one.input_ids) for one in self.encoded)
        if longest > data.sequence_length:
            return f"is longer than data.sequence_length: {longest} tokens"
        return "the chat template leaves no token to learn"

    def shown(self, path: str, line: int, writer: SampleWriter) -> Iterator[ShownSample]:
        """What people see of it."""
        for about, one in zip(_about(self.sample), self.encoded, strict=True):
            shown = writer.with_named_images(sample_shown(one, writer.tokenizer), self.sample)
            yield ShownSample(path, len(one.input_ids), shown.segments, line, about)


def see(sample: Sample, encoder: Encoder, data: Data, writer: SampleWriter) -> Seen:
    """The sample as token ids; raises ValueError where it cannot be written."""
    rendered = [writer.write(sample)]
    if sample.rejected:
        rendered.append(writer.write_rejected(sample))
    encoded = list(encoder.encode(rendered))
    is_long = len(encoded[0].input_ids) > data.sequence_length
    used = encoded[:1]
    if is_long and data.too_long == "split" and can_split(sample):
        parts = split_by_tokens(sample, writer, data).samples
        used = list(encoder.encode([writer.write(part) for part in parts]))
    return _seen(sample, encoded, used, data)


def see_tokens(row: Row, source: Source, data: Data, vocab_size: int) -> Seen:
    """A row that is token ids already; raises ValueError where it cannot be that."""
    if row.error:
        raise ValueError(row.error)
    told = read_tokens(renamed(row.value, source.columns), vocab_size)
    ids = np.asarray(told.input_ids, dtype=np.int32)
    labels = np.asarray(told.labels or told.input_ids, dtype=np.int32)
    labels[[*(told.cu_seqlens or [0])[:-1], 0]] = IGNORED
    return _seen(Sample(text="token ids"), [Encoded(ids, labels)], [Encoded(ids, labels)], data)


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


def _seen(sample: Sample, encoded: list[Encoded], used: Sequence[Encoded], data: Data) -> Seen:
    is_chopped = bool(sample.text) and data.too_long == "split"
    return Seen(sample, encoded, sum(_num_used(one, data, is_chopped=is_chopped) for one in used))


def _num_used(one: Encoded, data: Data, *, is_chopped: bool) -> int:
    if is_chopped:
        return len(one.input_ids) if one.num_labels else 0
    if len(one.input_ids) > data.sequence_length and data.too_long != "truncate":
        return 0
    labels = one.labels[: data.sequence_length]
    return len(labels) if (labels != IGNORED).any() else 0

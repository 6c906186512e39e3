"""One part of the data as one file of token ids: the work of one process.

What comes out depends on the part and the recipe alone, not on who does it, so that any number of
processes on any machines make the same files.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Source
from fsft.runtime.data.chat_template import turn_ends
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.encode_samples import SampleEncoder
from fsft.runtime.data.engines import EngineDiffers, Reference
from fsft.runtime.data.fitting import has_labels, lengths_of
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.parts import Part
from fsft.runtime.data.sample_batch import SampleBatch, to_columns
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.samples import BadRows, PlacedSample, SourceCounts, samples_in
from fsft.runtime.data.store import token_writer
from fsft.runtime.data.text_tokenizer import text_tokenizer
from fsft.runtime.data.token_rows import read_token_rows
from fsft.runtime.run_directory import write_json

WINDOW_CHARACTERS = 1 << 20
WINDOW_SAMPLES = 1 << 13
"""Samples that are encoded together and stand in one row group; either bounds memory."""

CHARACTERS_OF_IMAGE = 1 << 14
"""About what the tokens of an image take as text."""


@dataclass(frozen=True)
class PartTask:
    """A part to be tokenized."""

    split: str
    number: int
    """Its place among the parts of the split."""
    source_index: int
    format: DataFormat
    part: Part
    num_bytes: int
    """About how much of the input it is, as stored."""

    @property
    def name(self) -> str:
        """The file of its token ids, in the folder of all."""
        return f"{self.split}/part-{self.number:05}.parquet"


@dataclass
class PartCounts:
    """What became of a part."""

    rows: SourceCounts
    num_tokens: int = 0
    num_label_tokens: int = 0
    ends_learned: bool = False
    """A token that ends texts, or answers in the chat template, is learned somewhere."""
    engine: str = ""
    trouble: str = ""
    """Why a fast engine was given up; empty where it was not."""
    problems: list[Problem] = field(default_factory=list)
    """Why the part cannot be used; it has no file then."""


class PartTokenizer:
    """What a process needs to tokenize parts, loaded once."""

    def __init__(self, folder: Path, data: Data, schemas: dict[str, pa.Schema]) -> None:
        """`folder` holds the tokenizer and takes the files; `schemas` are the splits' columns."""
        self._folder, self._data, self._schemas = folder, data, schemas
        self.tokenizer = text_tokenizer(folder / "tokenizer")
        self._encoder = Encoder(self.tokenizer)
        self._images = ImageProcessor.load(folder / "tokenizer")
        self._ends = [
            index
            for token in (self.tokenizer.eos_token, *turn_ends(self.tokenizer.chat_template or ""))
            if token and (index := self.tokenizer.reference.token_to_id(token)) is not None
        ]

    def tokenize(self, task: PartTask) -> PartCounts:
        """Write the part's file and its counts, unless that was done before; returns the counts."""
        if (done := finished_counts(self._folder, task)) is not None:
            return done
        try:
            counts = self._write(task, self._encoder)
        except EngineDiffers as error:
            exact = Encoder(self.tokenizer, Reference(self.tokenizer.reference))
            counts = replace(self._write(task, exact), trouble=str(error))
        if not counts.problems:
            write_json(_counts_file(self._folder, task), asdict(counts))
        return counts

    def _write(self, task: PartTask, encoder: Encoder) -> PartCounts:
        source: Source = getattr(self._data, task.split)[task.source_index]
        counts = PartCounts(SourceCounts(source.path, task.format), engine=encoder.engine.name)
        schema = self._schemas[task.split]
        path = self._folder / task.name
        encoder.engine.begin()
        try:
            with token_writer(path, schema, self._data.compression) as writer:
                for batch in self._batches(task, source, encoder, counts.rows):
                    writer.write_batch(self._usable(batch, schema, counts))
        except Refused as error:
            counts.problems = list(error.problems)
        return counts

    def _batches(
        self, task: PartTask, source: Source, encoder: Encoder, counts: SourceCounts
    ) -> Iterator[SampleBatch]:
        writer = SampleWriter(self.tokenizer, self._data, source, self._images)
        bad = BadRows(task.part, self._data, counts)
        if task.format == "tokens":
            yield from read_token_rows(
                task.part,
                source,
                self._data,
                counts,
                bad,
                vocab_size=len(self.tokenizer),
                image_ids=writer.image_ids,
            )
            bad.refuse()
            return
        samples = SampleEncoder(self._data, encoder, counts, bad, writer)
        placed = samples_in(task.part, task.format, source, self._data, counts, bad)
        for window in _windows(placed):
            yield samples.encode(window)
        bad.refuse()

    def _usable(self, batch: SampleBatch, schema: pa.Schema, counts: PartCounts) -> pa.RecordBatch:
        """The samples that fit and have something to learn; the others are counted."""
        limit = self._data.sequence_length
        is_empty = np.all([lengths_of(side) == 0 for side in batch.sides], axis=0)
        fits = np.all([lengths_of(side) <= limit for side in batch.sides], axis=0)
        learns = np.all([has_labels(side) for side in batch.sides], axis=0)
        kept = fits & learns
        counts.rows.num_too_long += int((~fits).sum())
        counts.rows.num_empty += int(is_empty.sum())
        counts.rows.num_fully_masked += int((fits & ~learns & ~is_empty).sum())
        counts.rows.num_used += int(kept.sum())
        for side in batch.sides:
            tokens_kept = np.repeat(kept, lengths_of(side))
            learned = side.learned & tokens_kept
            counts.num_tokens += int(tokens_kept.sum())
            counts.num_label_tokens += int(learned.sum())
            counts.ends_learned |= bool(np.isin(side.tokens.ids[learned], self._ends).any())
        return to_columns(batch, kept, schema)


def finished_counts(folder: Path, task: PartTask) -> PartCounts | None:
    """The counts of a part that was tokenized before; None where it was not."""
    path = _counts_file(folder, task)
    if not path.exists() or not (folder / task.name).exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return PartCounts(**{**told, "rows": SourceCounts(**told["rows"])})


def _counts_file(folder: Path, task: PartTask) -> Path:
    return (folder / task.name).with_suffix(".json")


def _windows(samples: Iterator[PlacedSample]) -> Iterator[list[PlacedSample]]:
    window: list[PlacedSample] = []
    num_characters = 0
    for placed in samples:
        window.append(placed)
        num_characters += placed.sample.num_characters
        num_characters += CHARACTERS_OF_IMAGE * len(placed.sample.images)
        if num_characters >= WINDOW_CHARACTERS or len(window) == WINDOW_SAMPLES:
            yield window
            window, num_characters = [], 0
    if window:
        yield window

"""The samples of a data source: rows read, shape known, variables filled in, trouble counted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Source
from fsft.runtime.data.dialogues import Tidied, tidied
from fsft.runtime.data.rows import Row, read_rows
from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.shapes import detect_format, known_shapes, renamed, to_sample

MAX_PROBLEMS = 20
"""Broken rows named at once; the next ones are most often of the same kind."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass
class SourceCounts:
    """What became of the rows of one file.

    A row that is split becomes num_split samples more. Each row or sample is counted once:
    num_read + num_split = num_used + num_broken + num_empty + num_too_long + num_fully_masked.
    """

    path: str
    format: str
    num_read: int = 0
    num_used: int = 0
    num_broken: int = 0
    num_empty: int = 0
    num_too_long: int = 0
    num_truncated: int = 0
    """Samples among those used that were cut."""
    num_fully_masked: int = 0
    num_split: int = 0
    """Samples more than rows, from dialogues that were split; those too long by themselves too."""
    num_merged: int = 0
    """Turns joined to the one before, as both had the same role."""
    num_trailing_dropped: int = 0
    """Turns at the end of a dialogue that nobody answers."""
    num_left_out: int = 0
    """Texts that the chat template leaves out, as earlier reasoning."""


@dataclass(frozen=True)
class PlacedSample:
    """A sample and the line that it comes from."""

    line: int
    sample: Sample


def source_format(source: Source) -> DataFormat:
    """The shape of a source: the one the recipe says, else that of its first readable row."""
    if source.format != "auto":
        return source.format
    path = Path(source.path)
    for row in read_rows(path):
        if row.error:
            continue
        found = _detected(row.value, source)
        if found is None:
            fields = ", ".join(row.value) if isinstance(row.value, Mapping) else "none"
            raise Refused(
                Problem(
                    file=str(path),
                    line=row.line,
                    reason=f"the row has none of the known shapes; its fields: {fields}.",
                    example=known_shapes(),
                )
            )
        return found
    raise Refused(
        Problem(file=str(path), reason="holds no readable row.", example='{"text": "…"} a line')
    )


def read_samples(source: Source, data: Data, counts: SourceCounts) -> Iterator[PlacedSample]:
    """The samples of a file that say something; everything else is added to `counts`.

    Raises Refused naming the broken rows, up to MAX_PROBLEMS, when data.on_error is "stop".
    """
    data_format = source_format(source)
    problems: list[Problem] = []
    for index, row in enumerate(read_rows(Path(source.path))):
        if index == source.max_samples or len(problems) == MAX_PROBLEMS:
            break
        counts.num_read += 1
        try:
            tidy = interpret(row, data_format, source, data.variables)
        except ValueError as error:
            counts.num_broken += 1
            problems.append(Problem(file=source.path, line=row.line, reason=f"{error}."))
            if data.on_error == "skip":
                problems.clear()
            continue
        if tidy.sample.is_empty:
            counts.num_empty += 1
        elif not problems:
            counts.num_merged += tidy.num_merged
            counts.num_trailing_dropped += tidy.num_trailing_dropped
            yield PlacedSample(row.line, tidy.sample)
    if problems:
        hint = Problem(reason='to leave such rows out and count them, set data.on_error = "skip".')
        raise Refused(*problems, hint)


def interpret(
    row: Row, data_format: DataFormat, source: Source, variables: Mapping[str, str]
) -> Tidied:
    """The sample in a row, tidied; raises ValueError with the reason where there is none."""
    if row.error:
        raise ValueError(row.error)
    sample = to_sample(renamed(row.value, source.columns), data_format)
    return tidied(fill_in(sample, variables))


def fill_in(sample: Sample, variables: Mapping[str, str]) -> Sample:
    """The sample with {{name}} replaced wherever `variables` knows the name."""
    if not variables:
        return sample

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: variables.get(match[1], match[0]), text)

    def spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        names = ("content", "reasoning_content")
        return tuple(
            {**message, **{name: filled(message[name]) for name in names if name in message}}
            for message in messages
        )

    return replace(
        sample,
        messages=spoken(sample.messages),
        rejected=spoken(sample.rejected),
        text=filled(sample.text),
    )


def _detected(value: Any, source: Source) -> DataFormat | None:
    """The shape of a row; where a column is missing, that of the row as it is."""
    try:
        return detect_format(renamed(value, source.columns))
    except ValueError:
        return detect_format(value)

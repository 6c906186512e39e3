"""The samples of a data source: rows read, shape known, variables filled in, trouble counted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Source
from fsft.runtime.data.dialogues import Tidied, tidied
from fsft.runtime.data.files import find_files
from fsft.runtime.data.parts import Part, lines_before, read_part
from fsft.runtime.data.row import Row
from fsft.runtime.data.sample import Message, Sample
from fsft.runtime.data.shapes import detect_format, known_shapes, renamed, to_sample

MAX_PROBLEMS = 20
"""Bad rows named at once; the next ones are most often of the same kind."""

AS_UTF8 = "convert the file, as by iconv -f latin1 -t utf-8 (or -f utf-16)"
"""What helps where text is in another encoding."""

ROWS_FOR_A_SHAPE = 100
"""Rows whose shape is asked for: the first ones of a file may hold nulls."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass
class SourceCounts:
    """What became of the rows of one source.

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
    """Samples that were cut, or lost earlier turns, to fit into a row."""
    num_fully_masked: int = 0
    num_split: int = 0
    """Samples more than rows, from dialogues that were split; those too long by themselves too."""
    num_merged: int = 0
    """Turns joined to the one before, as both had the same role."""
    num_trailing_dropped: int = 0
    """Turns at the end of a dialogue that nobody answers."""
    num_left_out: int = 0
    """Texts that the chat template leaves out, as earlier reasoning."""
    first_broken: str = ""
    """The first row that could not be read, and why."""

    def add(self, other: "SourceCounts") -> None:
        """Count what became of further rows of the same source."""
        for name in (field.name for field in fields(self) if field.name.startswith("num_")):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_broken = self.first_broken or other.first_broken


class BadRows:
    """The rows of a part that cannot be used, whoever finds them: by reading or by rendering."""

    def __init__(self, part: Part, data: Data, counts: SourceCounts) -> None:
        self._part, self._data, self._counts = part, data, counts
        self._problems: list[Problem] = []
        self._first: tuple[str, int] | None = None

    @property
    def are_enough(self) -> bool:
        """As many are named as ever are: no more need be looked for."""
        return len(self._problems) >= MAX_PROBLEMS

    def add(self, row: Row, error: ValueError) -> None:
        """Count a row, and name it where data.on_error is "stop"."""
        problem = row.problem(str(error), self._lines_before)
        self._counts.num_broken += 1
        # What rendering finds comes after what reading found further on.
        place = row.file, row.line
        if self._first is None or place < self._first:
            self._first, self._counts.first_broken = place, str(problem)
        if self._data.on_error == "stop" and not self.are_enough:
            self._problems.append(problem)

    def refuse(self) -> None:
        """Raise Refused naming the rows, where there are any to stop at."""
        if self._problems:
            hint = 'to leave such rows out and count them, set data.on_error = "skip".'
            if any("not UTF-8" in problem.reason for problem in self._problems):
                hint = f"{hint} {AS_UTF8[0].upper()}{AS_UTF8[1:]}."
            named = sorted(self._problems, key=lambda problem: (problem.file, problem.line or 0))
            raise Refused(*named, Problem(reason=hint))

    @cached_property
    def _lines_before(self) -> int:
        return lines_before(self._part)


@dataclass(frozen=True)
class PlacedSample:
    """A sample and the row that it comes from."""

    row: Row
    sample: Sample


def source_format(source: Source) -> DataFormat:
    """The shape of a source: the one the recipe says, else that of its first readable row."""
    return source.format if source.format != "auto" else first_format(whole(source), source.columns)


def first_format(part: Part, columns: Mapping[str, str]) -> DataFormat:
    """The shape of the first row that has one, among readable ones the first ROWS_FOR_A_SHAPE.

    Raises Refused where there is none.
    """
    trouble = ""
    without: list[Row] = []
    for row in read_part(part):
        if row.error:
            trouble = trouble or str(row.problem())
            continue
        if found := _detected(row.value, columns):
            return found
        without.append(row)
        if len(without) == ROWS_FOR_A_SHAPE:
            break
    if without:
        value = without[0].value
        fields = ", ".join(value) if isinstance(value, Mapping) else "none"
        reason = f"the row has none of the known shapes; its fields: {fields}"
        raise Refused(replace(without[0].problem(reason), example=known_shapes()))
    reason = "holds no readable row" + (f"; the first of them: {trouble}" if trouble else ".")
    example = AS_UTF8 if "not UTF-8" in trouble else '{"text": "…"} a line'
    raise Refused(Problem(file=part.files[0].path, reason=reason, example=example))


def whole(source: Source) -> Part:
    """All rows of a source that are used, to be read one after the other."""
    return Part(tuple(find_files(source)), limit=source.max_samples)


def read_samples(source: Source, data: Data, counts: SourceCounts) -> Iterator[PlacedSample]:
    """The samples of a source that say something; everything else is added to `counts`.

    Rows that are token ids already hold none. Raises Refused at the end, naming the broken rows,
    when data.on_error is "stop".
    """
    part = whole(source)
    data_format = source.format if source.format != "auto" else first_format(part, source.columns)
    if data_format != "tokens":
        bad = BadRows(part, data, counts)
        yield from samples_in(part, data_format, source, data, counts, bad)
        bad.refuse()


def samples_in(
    part: Part,
    data_format: DataFormat,
    source: Source,
    data: Data,
    counts: SourceCounts,
    bad: BadRows,
) -> Iterator[PlacedSample]:
    """The samples in a part of a source; what says nothing is added to `counts`.

    Broken rows are added to `bad`; when they are enough, reading ends.
    """
    for row in read_part(part):
        if bad.are_enough:
            break
        counts.num_read += 1
        try:
            tidy = interpret(row, data_format, source, data.variables)
        except ValueError as error:
            bad.add(row, error)
            continue
        if tidy.sample.is_empty:
            counts.num_empty += 1
        else:
            counts.num_merged += tidy.num_merged
            counts.num_trailing_dropped += tidy.num_trailing_dropped
            yield PlacedSample(row, tidy.sample)


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


def _detected(value: Any, columns: Mapping[str, str]) -> DataFormat | None:
    """The shape of a row; where a column is missing, that of the row as it is."""
    try:
        return detect_format(renamed(value, columns))
    except ValueError:
        return detect_format(value)

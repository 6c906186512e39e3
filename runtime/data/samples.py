"""The samples of a data source: rows read, shape known, variables filled in, trouble counted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Source
from fsft.runtime.data.files import find_files
from fsft.runtime.data.parts import Part, lines_before, read_part
from fsft.runtime.data.row import Row
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, known_shapes, to_sample

MAX_PROBLEMS = 20
"""Broken rows named at once; the next ones are most often of the same kind."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass
class SourceCounts:
    """What became of the rows of one source.

    num_read + num_split is num_used + num_broken + num_empty + num_too_long + num_fully_masked.
    """

    path: str
    format: str
    num_read: int = 0
    num_used: int = 0
    num_broken: int = 0
    num_empty: int = 0
    num_too_long: int = 0
    num_truncated: int = 0
    num_split: int = 0
    """Samples that there are more of than rows, because one row became several."""
    num_fully_masked: int = 0

    def add(self, other: "SourceCounts") -> None:
        """Count what became of further rows of the same source."""
        for name in (field.name for field in fields(self) if field.name.startswith("num_")):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True)
class PlacedSample:
    """A sample and the row that it comes from."""

    row: Row
    sample: Sample


def source_format(source: Source) -> DataFormat:
    """The shape of a source: the one the recipe says, else that of its first readable row."""
    return source.format if source.format != "auto" else first_format(whole(source))


def first_format(part: Part) -> DataFormat:
    """The shape of the first readable row. Raises Refused where there is none, or it has none."""
    trouble = ""
    for row in read_part(part):
        if row.error:
            trouble = trouble or str(row.problem())
            continue
        found = detect_format(row.value)
        if found is None:
            fields = ", ".join(row.value) if isinstance(row.value, Mapping) else "none"
            reason = f"the row has none of the known shapes; its fields: {fields}"
            raise Refused(replace(row.problem(reason), example=known_shapes()))
        return found
    reason = "holds no readable row" + (f"; the first of them: {trouble}" if trouble else ".")
    raise Refused(Problem(file=part.files[0].path, reason=reason, example='{"text": "…"} a line'))


def whole(source: Source) -> Part:
    """All rows of a source that are used, to be read one after the other."""
    return Part(tuple(find_files(source)), limit=source.max_samples)


def read_samples(source: Source, data: Data, counts: SourceCounts) -> Iterator[PlacedSample]:
    """The samples of a source that say something; everything else is added to `counts`.

    Raises Refused as samples_in does.
    """
    part = whole(source)
    data_format = source.format if source.format != "auto" else first_format(part)
    yield from samples_in(part, data, data_format, counts)


def samples_in(
    part: Part, data: Data, data_format: DataFormat, counts: SourceCounts
) -> Iterator[PlacedSample]:
    """The samples in a part of a source; what says nothing is added to `counts`.

    Raises Refused naming the broken rows, up to MAX_PROBLEMS, when data.on_error is "stop".
    """
    problems: list[Problem] = []
    before = 0
    for row in read_part(part):
        if len(problems) == MAX_PROBLEMS:
            break
        counts.num_read += 1
        try:
            sample = fill_in(_sample(row, data_format), data.variables)
        except ValueError as error:
            counts.num_broken += 1
            if data.on_error == "stop":
                before = before if problems else lines_before(part)
                problems.append(row.problem(str(error), before))
            continue
        if sample.is_empty:
            counts.num_empty += 1
        elif not problems:
            yield PlacedSample(row, sample)
    if problems:
        hint = Problem(reason='to leave such rows out and count them, set data.on_error = "skip".')
        raise Refused(*problems, hint)


def fill_in(sample: Sample, variables: Mapping[str, str]) -> Sample:
    """The sample with {{name}} replaced wherever `variables` knows the name."""
    if not variables:
        return sample

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: variables.get(match[1], match[0]), text)

    messages = tuple(
        {**message, "content": filled(message["content"])} for message in sample.messages
    )
    return replace(sample, messages=messages, text=filled(sample.text))


def _sample(row: Row, data_format: DataFormat) -> Sample:
    if row.error:
        raise ValueError(row.error)
    return to_sample(row.value, data_format)

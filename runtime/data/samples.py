"""The samples of a data source: rows read, shape known, variables filled in, trouble counted."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Source
from fsft.runtime.data.rows import Row, read_rows
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
        found = detect_format(row.value)
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
    """The samples of a source that say something; everything else is added to `counts`.

    Raises Refused as samples_in does.
    """
    rows = itertools.islice(read_rows(Path(source.path)), source.max_samples)
    yield from samples_in(rows, source, data, source_format(source), counts)


def samples_in(
    rows: Iterable[Row], source: Source, data: Data, data_format: DataFormat, counts: SourceCounts
) -> Iterator[PlacedSample]:
    """The samples in some rows of a source; what says nothing is added to `counts`.

    Raises Refused naming the broken rows, up to MAX_PROBLEMS, when data.on_error is "stop".
    """
    problems: list[Problem] = []
    for row in rows:
        if len(problems) == MAX_PROBLEMS:
            break
        counts.num_read += 1
        try:
            sample = fill_in(_sample(row, data_format), data.variables)
        except ValueError as error:
            counts.num_broken += 1
            problems.append(Problem(file=source.path, line=row.line, reason=f"{error}."))
            if data.on_error == "skip":
                problems.clear()
            continue
        if sample.is_empty:
            counts.num_empty += 1
        elif not problems:
            yield PlacedSample(row.line, sample)
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
    return Sample(messages=messages, text=filled(sample.text))


def _sample(row: Row, data_format: DataFormat) -> Sample:
    if row.error:
        raise ValueError(row.error)
    return to_sample(row.value, data_format)

"""A look into the training data before a run: shapes, samples, and how many tokens there are.

Sources that are small are counted in full. Of large ones some rows are read, spread over all files
and, where their kind allows it, over each file; the tokens of the rest are extrapolated.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Recipe, Source
from fsft.runtime.data.encode import Encoder
from fsft.runtime.data.files import find_files
from fsft.runtime.data.images.of_recipe import image_processor_of
from fsft.runtime.data.parts import Part, read_part
from fsft.runtime.data.row import Row
from fsft.runtime.data.row_sample import RowSample, sample_rows
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_writer import SampleWriter
from fsft.runtime.data.samples import PlacedSample, first_format, interpret
from fsft.runtime.data.shown import Seen, ShownSample, as_written, see, see_tokens, shares
from fsft.runtime.data.text_tokenizer import text_tokenizer_of
from fsft.runtime.data.tokenizer import make_tokenizer, warnings_of_templates

MOST_ROWS = 2000
"""Rows of a source that are read; enough for an error of a few percent."""
SMALL = 64 * 1024**2
"""Stored bytes of a source that may be counted in full."""
SURE = 1.96
"""Standard errors on either side that hold 19 of 20 estimates."""


@dataclass(frozen=True)
class FileLook:
    """What the files of a source hold. `num_rows` is an estimate where not all rows were read."""

    path: str
    format: DataFormat
    num_rows: float
    num_sampled: int
    num_unusable: int
    """Rows among those read that are broken, empty, too long or have nothing to learn."""
    num_tokens: float | None
    """As `prepare` would count them: of rows that are used; None without a tokenizer."""
    error: float
    """Half the width of the interval that holds 19 of 20 estimates; 0 where all was counted."""
    is_from_start: bool = False
    """Whether rows are from the beginning of a file alone: the error supposes that the rest is like
    it."""
    first_unusable: str = ""
    """The first row among those read that is broken, else the first left out, and why."""


@dataclass(frozen=True)
class DataLook:
    """What the training data holds, file by file and in all."""

    files: list[FileLook]
    samples: list[ShownSample]
    trouble: str = ""
    """Why tokens are not counted, and samples shown without a template; empty where they are."""
    warnings: list[str] = field(default_factory=list)
    """What may surprise in the chat templates."""

    @property
    def num_tokens(self) -> float | None:
        """Tokens of one epoch."""
        counts = [file.num_tokens for file in self.files if file.num_tokens is not None]
        return sum(counts) if len(counts) == len(self.files) else None

    @property
    def error(self) -> float:
        """As in FileLook; errors of files are independent of each other."""
        return math.hypot(*(file.error for file in self.files)) if self.files else 0.0


def look(recipe: Recipe, num_samples: int) -> DataLook:
    """Look into the recipe's training files; paths must be resolved.

    Samples are shown of each file in turn, and of each file one at least unless `num_samples` is 0.
    Raises Refused where a file cannot be read.
    """
    data = recipe.data
    parts = [_read(source) for source in data.train]
    try:
        made = make_tokenizer(recipe, _texts(parts, data))
        tokenizer = text_tokenizer_of(made)
        images = image_processor_of(recipe, made)
        if any(part.format != "text" for part in parts) and not tokenizer.chat_template:
            raise Refused(
                Problem(
                    key="data.template",
                    reason="the data holds dialogues, and the tokenizer has no chat template.",
                    example='template = "chatml"',
                )
            )
    except Refused as error:
        return _without_tokens(parts, data, num_samples, str(error.problems[0]))
    files: list[FileLook] = []
    samples: list[ShownSample] = []
    encoder = Encoder(tokenizer)
    for part, wanted in zip(parts, shares(num_samples, len(parts)), strict=True):
        writer = SampleWriter(tokenizer, data, part.source, images)
        lengths: list[int] = []
        broken = unused = ""
        number = 0
        for row in part.rows:
            try:
                seen = _seen(row, part, data, encoder, writer)
            except ValueError as error:
                broken = broken or str(row.problem(str(error)))
                lengths.append(0)
                continue
            lengths.append(seen.num_tokens)
            if not seen.num_tokens:
                unused = unused or str(row.problem(seen.why_unused(data)))
            if number < wanted:
                number += 1
                samples.extend(seen.shown(part.source.path, row.line, writer))
        files.append(_counted(part, lengths, broken or unused))
    written = [part.source.template for part in parts if part.format not in ("text", "tokens")]
    return DataLook(files, samples, warnings=warnings_of_templates(tokenizer, written))


@dataclass(frozen=True)
class _Part:
    """What was read of a file."""

    source: Source
    format: DataFormat
    sample: RowSample
    is_whole: bool

    @property
    def rows(self) -> list[Row]:
        return self.sample.rows


def _read(source: Source) -> _Part:
    files, wanted = find_files(source), source.max_samples
    size = sum(file.size for file in files)
    data_format = source.format
    if data_format == "auto":
        data_format = first_format(Part(tuple(files), limit=wanted), source.columns)
    most = min(MOST_ROWS, wanted or MOST_ROWS)
    if wanted == most or 0 < size <= SMALL:
        rows = list(read_part(Part(tuple(files), limit=most + (wanted != most))))
        if len(rows) <= most:
            whole = RowSample(rows, [1.0] * len(rows), float(len(rows)))
            return _Part(source, data_format, whole, True)
    sample = sample_rows(files, MOST_ROWS)
    if wanted and wanted < sample.num_rows:
        sample = replace(sample, whole=sample.whole * wanted / sample.num_rows)
    return _Part(source, data_format, sample, False)


def _texts(parts: Sequence[_Part], data: Data) -> Iterator[str]:
    for part in parts:
        for row in part.rows:
            if (sample := _usable(row, part, data)) is not None:
                yield from (m["content"] for m in (*sample.messages, *sample.rejected))
                if sample.text:
                    yield sample.text


def _sample(row: Row, part: _Part, data: Data) -> Sample:
    """The sample in a row; raises ValueError with the reason where there is none."""
    sample = interpret(row, part.format, part.source, data.variables).sample
    if sample.is_empty:
        raise ValueError("is empty")
    return sample


def _usable(row: Row, part: _Part, data: Data) -> Sample | None:
    try:
        return _sample(row, part, data)
    except ValueError:
        return None


def _first_broken(part: _Part, data: Data) -> str:
    if part.format == "tokens":
        return ""
    for row in part.rows:
        try:
            _sample(row, part, data)
        except ValueError as error:
            return str(row.problem(str(error)))
    return ""


def _seen(row: Row, part: _Part, data: Data, encoder: Encoder, writer: SampleWriter) -> Seen:
    """What becomes of a row; raises ValueError where it is broken or the template refuses it."""
    if part.format == "tokens":
        return see_tokens(row, part.source, data, len(writer.tokenizer))
    placed = writer.placed(PlacedSample(row, _sample(row, part, data)))
    return see(placed.sample, encoder, data, writer)


def _counted(part: _Part, lengths: Sequence[int], first_unusable: str) -> FileLook:
    """Tokens by the ratio of tokens to size among the rows that were read."""
    sizes, number = part.sample.sizes, len(lengths)
    ratio = sum(lengths) / sum(sizes) if sizes else 0.0
    error = 0.0
    if not part.is_whole and number > 1:
        # Cochran, Sampling Techniques, the variance of a ratio estimate.
        pairs = zip(lengths, sizes, strict=True)
        variance = sum((length - ratio * size) ** 2 for length, size in pairs) / (number - 1)
        unread = max(0.0, 1 - number / part.sample.num_rows)
        error = SURE * math.sqrt(variance / number * unread) * part.sample.num_rows
    return FileLook(
        path=part.source.path,
        format=part.format,
        num_rows=part.sample.num_rows,
        num_sampled=number,
        num_unusable=sum(length == 0 for length in lengths),
        num_tokens=ratio * part.sample.whole,
        error=error,
        is_from_start=part.sample.is_from_start,
        first_unusable=first_unusable,
    )


def _without_tokens(parts: Sequence[_Part], data: Data, num_samples: int, trouble: str) -> DataLook:
    """Shapes, rows and samples as they are in the files."""
    files: list[FileLook] = []
    samples: list[ShownSample] = []
    for part, wanted in zip(parts, shares(num_samples, len(parts)), strict=True):
        read = [_usable(row, part, data) for row in part.rows]
        broken = sum(sample is None for sample in read)
        number = len(part.rows)
        held = part.sample
        files.append(
            FileLook(
                part.source.path,
                part.format,
                held.num_rows,
                number,
                broken,
                None,
                0.0,
                held.is_from_start,
                _first_broken(part, data),
            )
        )
        usable = ((row, one) for row, one in zip(part.rows, read, strict=True) if one is not None)
        samples.extend(
            shown
            for row, sample in islice(usable, wanted)
            for shown in as_written(sample, data, part.source.path, row.line)
        )
    return DataLook(files, samples, trouble)

"""A look into the training data before a run: shapes, samples, and how many tokens there are.

Sources that are small are counted in full. Of large ones some rows are read, spread over all files
and, where their kind allows it, over each file; the tokens of the rest are extrapolated.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, DataFormat, Recipe, Source
from fsft.runtime.data.encode import IGNORED, Encoded, Encoder
from fsft.runtime.data.files import find_files
from fsft.runtime.data.images.expand import ImageTexts
from fsft.runtime.data.images.files import places_of
from fsft.runtime.data.images.of_recipe import image_processor_of
from fsft.runtime.data.images.shown import with_named_images
from fsft.runtime.data.parts import Part, read_part
from fsft.runtime.data.preview import sample_shown
from fsft.runtime.data.render import render
from fsft.runtime.data.row import Row
from fsft.runtime.data.row_sample import RowSample, sample_rows
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import fill_in, first_format
from fsft.runtime.data.shapes import to_sample
from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer_of
from fsft.runtime.data.tokenizer import make_tokenizer

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


@dataclass(frozen=True)
class ShownSample:
    """A sample as the model will see it."""

    path: str
    num_tokens: int | None
    segments: list[tuple[str, bool]]


@dataclass(frozen=True)
class DataLook:
    """What the training data holds, file by file and in all."""

    files: list[FileLook]
    samples: list[ShownSample]
    trouble: str = ""
    """Why tokens are not counted, and samples shown without a template; empty where they are."""

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

    Raises Refused where a file cannot be read.
    """
    data = recipe.data
    parts = [_read(source) for source in data.train]
    try:
        made = make_tokenizer(recipe, _texts(parts, data))
        tokenizer = text_tokenizer_of(made)
        processor = image_processor_of(recipe, made)
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
    for part in parts:
        images = ImageTexts(processor, tokenizer, part.source) if processor else None
        encoded = [_encoded(row, part, data, tokenizer, encoder, images) for row in part.rows]
        files.append(_counted(part, [_num_used(one, data) for one in encoded]))
        usable = ((o, r) for o, r in zip(encoded, part.rows, strict=True) if o is not None)
        for one, row in islice(usable, num_samples - len(samples)):
            shown = sample_shown(one, tokenizer)
            if processor and (sample := _sample(row, part, data)):
                places = places_of(sample.images, row.file, part.source)
                shown = with_named_images(shown, processor.text, places)
            samples.append(ShownSample(part.source.path, len(one.input_ids), shown.segments))
    return DataLook(files, samples)


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
        data_format = first_format(Part(tuple(files), limit=wanted))
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
            if (sample := _sample(row, part, data)) is not None:
                yield from (message["content"] for message in sample.messages)
                if sample.text:
                    yield sample.text


def _sample(row: Row, part: _Part, data: Data) -> Sample | None:
    if row.error:
        return None
    try:
        sample = fill_in(to_sample(row.value, part.format), data.variables)
    except ValueError:
        return None
    return None if sample.is_empty else sample


def _encoded(
    row: Row,
    part: _Part,
    data: Data,
    tokenizer: TextTokenizer,
    encoder: Encoder,
    images: ImageTexts | None,
) -> Encoded | None:
    sample = _sample(row, part, data)
    if sample is None or (sample.images and images is None):
        return None
    try:
        if images and sample.images:
            rendered = images.rendered(sample, row.file, lambda s: render(s, tokenizer, data))
        else:
            rendered = render(sample, tokenizer, data)
        return next(iter(encoder.encode([rendered])))
    except ValueError:
        return None


def _num_used(one: Encoded | None, data: Data) -> int:
    """Tokens of a row that are trained on; 0 where `prepare` would leave it out."""
    if one is None or (len(one.input_ids) > data.sequence_length and data.too_long == "drop"):
        return 0
    labels = one.labels[: data.sequence_length]
    return len(labels) if (labels != IGNORED).any() else 0


def _counted(part: _Part, lengths: Sequence[int]) -> FileLook:
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
    )


def _without_tokens(parts: Sequence[_Part], data: Data, num_samples: int, trouble: str) -> DataLook:
    """Shapes, rows and samples as they are in the files."""
    files: list[FileLook] = []
    samples: list[ShownSample] = []
    for part in parts:
        read = [_sample(row, part, data) for row in part.rows]
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
            )
        )
        usable = (sample for sample in read if sample is not None)
        samples.extend(
            ShownSample(part.source.path, None, _turns(sample, data))
            for sample in islice(usable, num_samples - len(samples))
        )
    return DataLook(files, samples, trouble)


def _turns(sample: Sample, data: Data) -> list[tuple[str, bool]]:
    if sample.text:
        return [(sample.text, True)]
    return [
        (
            f"{message['role']}: {message['content']}\n",
            data.loss_on == "all" or message["role"] == "assistant",
        )
        for message in sample.messages
    ]

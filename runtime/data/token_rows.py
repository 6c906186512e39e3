"""Rows that hold token ids already, such as Spark and other trainers write."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import IGNORED, TokenBatch
from fsft.runtime.data.engines import TokenIds
from fsft.runtime.data.fitting import fitted
from fsft.runtime.data.images.fitting import fitted_with_images
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.parts import Part, read_part
from fsft.runtime.data.row import Row
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.samples import BadRows, SourceCounts
from fsft.runtime.data.shapes import renamed
from fsft.runtime.data.shapes.tokens import TokenRow, read_tokens
from fsft.runtime.data.token_columns import ROWS_TOGETHER, TokenColumns, columns_of

PREFERENCES = ("rejected_input_ids", "is_good")
"""Columns of preferences, which the tokens shape would make plain answers of."""
_LISTS = pa.list_(pa.int64())


def read_token_rows(
    part: Part,
    source: Source,
    data: Data,
    counts: SourceCounts,
    bad: BadRows,
    *,
    vocab_size: int,
    image_ids: ImageIds | None = None,
) -> Iterator[SampleBatch]:
    """The samples of a part; rows that were packed become their samples again.

    `input_ids` is needed; `labels` say what is learned, else all is; `cu_seqlens` bound the
    samples of a row, else it is one; `images` name the images of a row that is one sample.
    `image_ids`: those of the model's images, where it takes some. Rows that cannot be token ids
    are added to `bad`; when they are enough, reading ends. Raises Refused where a column cannot be
    what it should.
    """
    for batch in _columns(part, source, counts, bad, vocab_size):
        counts.num_read += batch.num_rows
        if preferences := [name for name in PREFERENCES if batch.has(name)]:
            raise batch.refused(
                preferences[0], "says which answers people liked, which is not learned from here"
            )
        try:
            named, tokens = batch, _tokens(batch, vocab_size)
        except ValueError:
            # Row by row takes long, so only where a look at all rows tells of trouble.
            good = [_is_good(row, vocab_size, bad) for row in batch.rows()]
            if bad.are_enough:
                return
            if not any(good):
                continue
            named = batch.kept(good)
            tokens = _tokens(named, vocab_size)
        counts.num_split += len(tokens) - named.num_rows
        if samples := _samples_with_images(named, image_ids):
            yield SampleBatch(*fitted_with_images(tokens, samples, data, counts, image_ids))
        else:
            yield SampleBatch(fitted(tokens, data, counts))


def _tokens(named: TokenColumns, vocab_size: int) -> TokenBatch:
    """The samples of all rows. Raises ValueError where a row cannot be token ids."""
    ids, bounds = named.lists("input_ids")
    if len(ids) and (ids.min() < 0 or ids.max() >= vocab_size):
        raise ValueError(f"input_ids must hold numbers from 0 to {vocab_size - 1}")
    learned = np.ones(len(ids), dtype=bool)
    if named.has("labels"):
        labels, label_bounds = named.lists("labels")
        learned = labels != IGNORED
        if not np.array_equal(label_bounds, bounds):
            raise ValueError("labels differs from input_ids in length")
        if (labels[learned] != ids[learned]).any():
            raise ValueError("labels must be the tokens at their own places")
    if named.has("cu_seqlens"):
        bounds = _inner_bounds(named, bounds)
    learned[bounds[:-1][np.diff(bounds) > 0]] = False
    return TokenBatch(TokenIds(ids.astype(np.int32), bounds), learned)


def _is_good(row: Row, vocab_size: int, bad: BadRows) -> bool:
    """Whether a row can be token ids; where it cannot, it is added to `bad`."""
    try:
        if nulls := [name for name, value in row.value.items() if value is None]:
            raise ValueError(f"{nulls[0]} is null")
        # A row without any token is no trouble here: it is counted as empty.
        if any(row.value.values()):
            read_tokens(row.value, vocab_size)
    except ValueError as error:
        bad.add(row, error)
        return False
    return True


def _samples_with_images(named: TokenColumns, image_ids: ImageIds | None) -> list[Sample]:
    """The rows as samples, for their images; empty where no row has any."""
    names = named.texts("images")
    if not any(names):
        return []
    if image_ids is None:
        raise named.refused("images", "names images, which the model does not take")
    if named.has("cu_seqlens"):
        raise named.refused("images", "cannot be told apart among the samples of packed rows")
    return [Sample(images=tuple(one or ())) for one in names]


def _inner_bounds(named: TokenColumns, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bounds of the samples in all rows, from each row's cu_seqlens (0 … its length)."""
    inner, rows = named.lists("cu_seqlens")
    counts = np.diff(rows)
    if (counts < 2).any():
        raise ValueError("cu_seqlens must begin with 0 and end with the length of the row")
    firsts, lasts = rows[:-1], rows[1:] - 1
    rises = np.diff(inner) > 0
    rises[lasts[:-1]] = True
    if (inner[firsts] != 0).any() or (inner[lasts] != np.diff(bounds)).any() or not rises.all():
        raise ValueError("cu_seqlens must rise from 0 to the length of the row")
    placed = inner + np.repeat(bounds[:-1], counts)
    kept = np.ones(len(placed), dtype=bool)
    kept[firsts[1:]] = False
    return placed[kept].astype(np.int64)


def _columns(
    part: Part, source: Source, counts: SourceCounts, bad: BadRows, vocab_size: int
) -> Iterator[TokenColumns]:
    """The rows of a part, by the columns where files have them."""
    kinds = {file.kind for file in part.files}
    if part.limit is None and kinds <= {"parquet", "arrow"}:
        yield from columns_of(part, source.columns)
        return
    good = _good_rows(part, source, counts, bad, vocab_size)
    while window := list(islice(good, ROWS_TOGETHER)):
        yield TokenColumns(_batch(window), source.path, {})


def _batch(window: Sequence[tuple[TokenRow, list[str]]]) -> pa.RecordBatch:
    """Rows of files without columns, and the names of their images, as columns."""
    lists = {
        "input_ids": [row.input_ids for row, _ in window],
        "labels": [row.labels or row.input_ids for row, _ in window],
        "cu_seqlens": [row.cu_seqlens or [0, len(row.input_ids)] for row, _ in window],
    }
    if all(row.cu_seqlens is None for row, _ in window):
        del lists["cu_seqlens"]
    columns: dict[str, Any] = {name: pa.array(of, _LISTS) for name, of in lists.items()}
    if any(images for _, images in window):
        columns["images"] = pa.array([images for _, images in window], pa.list_(pa.string()))
    return pa.RecordBatch.from_pydict(columns)


def _good_rows(
    part: Part, source: Source, counts: SourceCounts, bad: BadRows, vocab_size: int
) -> Iterator[tuple[TokenRow, list[str]]]:
    """The token ids of rows and the names of their images; other rows are added to `bad`."""
    for row in read_part(part):
        if bad.are_enough:
            break
        try:
            if row.error:
                raise ValueError(row.error)
            value = renamed(row.value, source.columns)
            tokens = read_tokens(value, vocab_size)
            if any(name in value for name in PREFERENCES):
                raise ValueError("says which answers people liked, which is not learned from here")
        except ValueError as error:
            counts.num_read += 1
            bad.add(row, error)
        else:
            yield tokens, list(value.get("images") or [])

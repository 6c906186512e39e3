"""Rows that hold token ids already, such as Spark and other trainers write."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, Source
from fsft.runtime.data.encode import IGNORED, TokenBatch
from fsft.runtime.data.engines import TokenIds
from fsft.runtime.data.fitting import fitted
from fsft.runtime.data.images.fitting import fitted_with_images
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.parts import Part, lines_before, read_part
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_batch import SampleBatch
from fsft.runtime.data.samples import SourceCounts
from fsft.runtime.data.shapes import renamed
from fsft.runtime.data.shapes.tokens import TokenRow, read_tokens
from fsft.runtime.data.table_rows import arrow_batches, open_parquet

Ints = npt.NDArray[Any]
ROWS_TOGETHER = 1024
PREFERENCES = ("rejected_input_ids", "is_good")
"""Columns of preferences, which the tokens shape would make plain answers of."""
_LISTS = pa.list_(pa.int64())


def read_token_rows(
    part: Part,
    source: Source,
    data: Data,
    counts: SourceCounts,
    *,
    vocab_size: int,
    image_ids: ImageIds | None = None,
) -> Iterator[SampleBatch]:
    """The samples of a part; rows that were packed become their samples again.

    `input_ids` is needed; `labels` say what is learned, else all is; `cu_seqlens` bound the
    samples of a row, else it is one; `images` name the images of a row that is one sample.
    `image_ids`: those of the model's images, where it takes some. Raises Refused where a column
    cannot be what it should.
    """
    for named in _batches(part, source, data, counts):
        counts.num_read += named.num_rows
        if preferences := [name for name in PREFERENCES if named.has(name)]:
            raise named.refused(
                preferences[0], "says which answers people liked, which is not learned from here"
            )
        ids, bounds = named.lists("input_ids")
        if len(ids) and (ids.min() < 0 or ids.max() >= vocab_size):
            raise named.refused(
                "input_ids",
                f"holds {ids.min()} to {ids.max()}; the model knows 0 to {vocab_size - 1}",
            )
        learned = np.ones(len(ids), dtype=bool)
        if named.has("labels"):
            labels, label_bounds = named.lists("labels")
            learned = labels != IGNORED
            if not np.array_equal(label_bounds, bounds):
                raise named.refused("labels", "differs from input_ids in length")
            if (labels[learned] != ids[learned]).any():
                raise named.refused(
                    "labels", f"must be the token at its own place or {IGNORED}, not the next token"
                )
        if named.has("cu_seqlens"):
            bounds = _inner_bounds(named, bounds)
        learned[bounds[:-1][np.diff(bounds) > 0]] = False
        counts.num_split += len(bounds) - 1 - named.num_rows
        tokens = TokenBatch(TokenIds(ids.astype(np.int32), bounds), learned)
        if samples := _samples_with_images(named, image_ids):
            yield SampleBatch(*fitted_with_images(tokens, samples, data, counts, image_ids))
        else:
            yield SampleBatch(fitted(tokens, data, counts))


def _samples_with_images(named: "_Columns", image_ids: ImageIds | None) -> list[Sample]:
    """The rows as samples, for their images; empty where no row has any."""
    names = named.texts("images")
    if not any(names):
        return []
    if image_ids is None:
        raise named.refused("images", "names images, which the model does not take")
    if named.has("cu_seqlens"):
        raise named.refused("images", "cannot be told apart among the samples of packed rows")
    return [Sample(images=tuple(one or ())) for one in names]


class _Columns:
    """The columns of a batch by the names of the shape's fields."""

    def __init__(self, batch: pa.RecordBatch, file: str, names: Mapping[str, str]) -> None:
        """`names`: what fields are called in the batch, where it is otherwise."""
        self._batch, self._file, self._names = batch, file, names
        self.num_rows = batch.num_rows

    def has(self, field: str) -> bool:
        """Raises Refused where the recipe names a column that is not there."""
        is_there = self._name(field) in self._batch.schema.names
        if field in self._names and not is_there:
            raise self.refused(field, self._missing())
        return is_there

    def lists(self, field: str) -> tuple[Ints, npt.NDArray[np.int64]]:
        """The numbers of all rows behind each other, and where each row begins, and the end."""
        if not self.has(field):
            raise self.refused(field, self._missing())
        column: Any = self._batch.column(self._name(field))
        kind = column.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(
            kind.value_type
        ):
            raise self.refused(field, f"must be lists of whole numbers, not {kind}")
        if column.null_count or column.flatten().null_count:
            raise self.refused(field, "holds nulls")
        offsets = column.offsets.to_numpy().astype(np.int64)
        return column.flatten().to_numpy(), offsets - offsets[0]

    def texts(self, field: str) -> list[list[str] | None]:
        """The texts of each row; empty where there is no such column."""
        if not self.has(field):
            return []
        column: Any = self._batch.column(self._name(field))
        kind = column.type
        if not pa.types.is_list(kind) or not pa.types.is_string(kind.value_type):
            raise self.refused(field, f"must be lists of texts, not {kind}")
        told: list[list[str] | None] = column.to_pylist()
        return told

    def refused(self, field: str, reason: str) -> Refused:
        name = self._name(field)
        return Refused(
            Problem(
                file=self._file,
                key=name,
                reason=f"the column {reason}.",
                example=f'columns = {{ {field} = "…" }} where it is called otherwise',
            )
        )

    def _name(self, field: str) -> str:
        return self._names.get(field, field)

    def _missing(self) -> str:
        return f"is missing; there are {', '.join(self._batch.schema.names)}"


def _inner_bounds(named: _Columns, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bounds of the samples in all rows, from each row's cu_seqlens (0 … its length)."""
    inner, rows = named.lists("cu_seqlens")
    counts = np.diff(rows)
    if (counts < 2).any():
        raise named.refused("cu_seqlens", "must begin with 0 and end with the length of the row")
    firsts, lasts = rows[:-1], rows[1:] - 1
    rises = np.diff(inner) > 0
    rises[lasts[:-1]] = True
    if (inner[firsts] != 0).any() or (inner[lasts] != np.diff(bounds)).any() or not rises.all():
        raise named.refused("cu_seqlens", "must rise from 0 to the length of the row")
    placed = inner + np.repeat(bounds[:-1], counts)
    kept = np.ones(len(placed), dtype=bool)
    kept[firsts[1:]] = False
    return placed[kept].astype(np.int64)


def _batches(part: Part, source: Source, data: Data, counts: SourceCounts) -> Iterator[_Columns]:
    """The rows of a part, by the columns where files have them."""
    kinds = {file.kind for file in part.files}
    if part.limit is not None or not kinds <= {"parquet", "arrow"}:
        yield from _from_rows(part, source, data, counts)
        return
    for file in part.files:
        try:
            if file.kind == "arrow":
                for batch in arrow_batches(file):
                    yield _Columns(batch, file.path, source.columns)
                continue
            with open_parquet(file) as parquet:
                stop = parquet.num_row_groups if part.stop is None else part.stop
                groups = list(range(part.start, stop))
                for batch in parquet.iter_batches(ROWS_TOGETHER, row_groups=groups):
                    yield _Columns(batch, file.path, source.columns)
        except (BadContent, pa.ArrowInvalid, OSError) as error:
            raise Refused(Problem(file=file.path, reason=f"cannot be read: {error}.")) from None


def _from_rows(part: Part, source: Source, data: Data, counts: SourceCounts) -> Iterator[_Columns]:
    """Rows of files without columns; those that cannot be token ids are counted as broken."""
    good = filter(None, (_checked(row, part, source, data, counts) for row in read_part(part)))
    while window := list(islice(good, ROWS_TOGETHER)):
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
        yield _Columns(pa.RecordBatch.from_pydict(columns), source.path, {})


def _checked(
    row: Row, part: Part, source: Source, data: Data, counts: SourceCounts
) -> tuple[TokenRow, list[str]] | None:
    """The token ids of a row and the names of its images; None where it is left out."""
    try:
        if row.error:
            raise ValueError(row.error)
        value = renamed(row.value, source.columns)
        tokens = read_tokens(value)
        if any(name in value for name in PREFERENCES):
            raise ValueError("says which answers people liked, which is not learned from here")
        return tokens, list(value.get("images") or [])
    except ValueError as error:
        problem = row.problem(str(error), lines_before(part))
    counts.num_read += 1
    counts.num_broken += 1
    counts.first_broken = counts.first_broken or str(problem)
    if data.on_error == "stop":
        raise Refused(problem)
    return None

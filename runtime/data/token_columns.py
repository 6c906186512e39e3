"""The columns of rows that hold token ids already, as arrays over all rows of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.parts import Part
from fsft.runtime.data.row import BadContent, Row
from fsft.runtime.data.table_rows import arrow_batches, open_parquet

Ints = npt.NDArray[Any]
ROWS_TOGETHER = 1024
TOKEN_FIELDS = ("input_ids", "labels", "cu_seqlens")
"""The fields that hold a list of numbers for each row."""


class TokenColumns:
    """The columns of a batch by the names of the shape's fields."""

    def __init__(
        self, batch: pa.RecordBatch, file: str, names: Mapping[str, str], rows_before: int = 0
    ) -> None:
        """`names`: what fields are called in the batch, where it is otherwise.

        `rows_before`: the rows of the file that come before the batch.
        """
        self._batch, self._file, self._names = batch, file, names
        self._rows_before = rows_before
        self.num_rows = batch.num_rows

    def has(self, field: str) -> bool:
        """Raises Refused where the recipe names a column that is not there."""
        is_there = self._name(field) in self._batch.schema.names
        if field in self._names and not is_there:
            raise self.refused(field, self._missing())
        return is_there

    def lists(self, field: str) -> tuple[Ints, npt.NDArray[np.int64]]:
        """The numbers of all rows behind each other, and where each row begins, and the end.

        Raises Refused where the column is of another type, ValueError where a row holds nulls.
        """
        if not self.has(field):
            raise self.refused(field, self._missing())
        column: Any = self._batch.column(self._name(field))
        kind = column.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(
            kind.value_type
        ):
            raise self.refused(field, f"must be lists of whole numbers, not {kind}")
        if column.null_count or column.flatten().null_count:
            raise ValueError(f"{field} holds nulls")
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

    def rows(self) -> Iterator[Row]:
        """Each row with its place and its TOKEN_FIELDS, those that are there."""
        names = [field for field in TOKEN_FIELDS if self.has(field)]
        columns = [self._batch.column(self._name(name)).to_pylist() for name in names]
        for number, values in enumerate(zip(*columns, strict=True), self._rows_before + 1):
            yield Row(self._file, number, dict(zip(names, values, strict=True)))

    def kept(self, kept: Sequence[bool]) -> "TokenColumns":
        """The rows that are kept."""
        return TokenColumns(self._batch.filter(pa.array(kept)), self._file, self._names)

    def refused(self, field: str, reason: str) -> Refused:
        """What is wrong with a column as a whole."""
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


def columns_of(part: Part, names: Mapping[str, str]) -> Iterator[TokenColumns]:
    """The rows of a part whose files are parquet or arrow. Raises Refused for what is neither."""
    for file in part.files:
        try:
            before, batches = _batches(file, part)
            for batch in batches:
                yield TokenColumns(batch, file.path, names, before)
                before += batch.num_rows
        except (BadContent, pa.ArrowInvalid, OSError) as error:
            raise Refused(Problem(file=file.path, reason=f"cannot be read: {error}.")) from None


def _batches(file: DataFile, part: Part) -> tuple[int, Iterator[pa.RecordBatch]]:
    """The rows before the part in the file, and those of the part."""
    if file.kind == "arrow":
        return 0, (
            batch.slice(place, ROWS_TOGETHER)
            for batch in arrow_batches(file)
            for place in range(0, batch.num_rows, ROWS_TOGETHER)
        )
    with open_parquet(file) as parquet:
        before = sum(parquet.metadata.row_group(group).num_rows for group in range(part.start))
    return before, _row_groups(file, part)


def _row_groups(file: DataFile, part: Part) -> Iterator[pa.RecordBatch]:
    with open_parquet(file) as parquet:
        stop = parquet.num_row_groups if part.stop is None else part.stop
        yield from parquet.iter_batches(ROWS_TOGETHER, row_groups=list(range(part.start, stop)))

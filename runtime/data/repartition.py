"""Cutting parquet data sets into balanced parts, one for each reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fsft import __version__
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.counts import is_integer_list
from fsft.runtime.data.dataset import Dataset, open_dataset
from fsft.runtime.data.dataset_output import new_dataset
from fsft.runtime.data.dataset_parts import Compression, Layout, PartOf, by_rows, write_parts
from fsft.runtime.data.info import (
    DataInfo,
    column_types,
    require_told_files,
    whole_info,
    write_info,
)
from fsft.runtime.data.shuffle import Tell, require_rows, telling


def repartition(
    inputs: Sequence[Path],
    output: Path,
    *,
    num_parts: int,
    by: Literal["rows", "tokens"] = "rows",
    column: str = "input_ids",
    compression: Compression = "zstd",
    overwrite: bool = False,
    tell: Tell = lambda *_: None,
) -> DataInfo:
    """Write all rows of the inputs, in their order, as `num_parts` files of like size.

    By rows, parts differ by one row at most. By tokens, the lengths of the lists in `column`, a
    part has its share to within its longest row, and no part is empty.

    Raises Refused where an input is not whole or cannot be read, or the output would replace
    something, RunFailed on a full disk. The output is there only when it is whole.
    """
    require_told_files(inputs)
    dataset = open_dataset(inputs)
    require_rows(dataset, num_parts)
    with new_dataset(output, inputs, overwrite=overwrite) as folder:
        if by == "tokens":
            total = _num_tokens(dataset, column)
            part_of = by_tokens(num_parts, dataset.num_rows, total, column)
        else:
            part_of = by_rows(num_parts, dataset.num_rows)
        tables = (pa.Table.from_batches([batch]) for batch in dataset.batches())
        told = telling(tables, lambda done: tell("write", done, dataset.num_rows))
        layout = Layout(dataset.schema, dataset.batch_rows, compression)
        parts = write_parts(told, part_of, folder, layout)
        made: dict[str, Any] = {
            "by": f"fsft {__version__}, data repartition",
            "balanced": by,
            "compression": compression,
            "inputs": [str(path.resolve()) for path in inputs],
        }
        info = whole_info(parts, column_types(dataset.schema), made)
        write_info(folder, info)
    return info


def by_tokens(num_parts: int, num_rows: int, num_tokens: int, column: str) -> PartOf:
    """A row goes to the part in whose share of all tokens its middle lies."""
    rows_seen = tokens_seen = 0
    lead = 0
    """The least of part minus row so far: a part may not be passed over, so it grows by one."""

    def part_of(table: pa.Table) -> npt.NDArray[np.int64]:
        nonlocal rows_seen, tokens_seen, lead
        lengths = _lengths(table.column(column))
        ends = tokens_seen + np.cumsum(lengths)
        middles = (ends - lengths / 2) / max(1, num_tokens)
        wanted = np.minimum((middles * num_parts).astype(np.int64), num_parts - 1)
        rows = np.arange(rows_seen, rows_seen + table.num_rows)
        leads = np.minimum(np.minimum.accumulate(wanted - rows), lead)
        rows_seen += table.num_rows
        tokens_seen = int(ends[-1])
        lead = int(leads[-1])
        # Enough rows must be left for the parts that follow.
        return np.maximum(leads + rows, num_parts - num_rows + rows)

    return part_of


def _num_tokens(dataset: Dataset, column: str) -> int:
    if not is_integer_list(dataset.schema, column):
        raise Refused(
            Problem(
                file=str(dataset.files[0]),
                reason=f"has no column `{column}` of lists of integers to balance by.",
                example=f"--by rows, or one of these as --column: {', '.join(_lists(dataset))}",
            )
        )
    return sum(int(_lengths(batch.column(column)).sum()) for batch in dataset.batches([column]))


def _lists(dataset: Dataset) -> list[str]:
    names = dataset.schema.names
    return [name for name in names if is_integer_list(dataset.schema, name)] or ["(there is none)"]


def _lengths(column: Any) -> npt.NDArray[np.int64]:
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return lengths.to_numpy().astype(np.int64)

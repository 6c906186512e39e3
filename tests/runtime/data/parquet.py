"""Small parquet data sets, and what is in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

TOKENS = pa.schema(
    [("id", pa.int64()), ("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))]
)

lists_of_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=120)


def write_tokens(path: Path, lengths: Sequence[int], *, first: int = 0) -> Path:
    """Rows of token ids of these lengths; half of the tokens are learned."""
    rows = [
        {
            "id": first + index,
            "input_ids": list(range(length)),
            "labels": [token if token % 2 else -100 for token in range(length)],
        }
        for index, length in enumerate(lengths)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TOKENS), path, row_group_size=7)
    return path


def rows_of(*paths: Path) -> list[dict[str, Any]]:
    """All rows of files and folders, in order."""
    files = [f for path in paths for f in ([path] if path.is_file() else sorted(path.glob("p*")))]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

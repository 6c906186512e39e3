"""Token ids in parquet: what data preparation makes, to keep, to exchange, and to train from.

A row is a sample: `input_ids`, `labels` (IGNORED where nothing is learned; absent where all of it
is, but for each sample's first token), and what its shape has besides.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fsft.recipes.schema import Compression, DataFormat

_INTS = pa.list_(pa.int32())
_COLUMNS = {
    "input_ids": _INTS,
    "labels": _INTS,
    "rejected_input_ids": _INTS,
    "rejected_labels": _INTS,
    "is_good": pa.bool_(),
    "category": pa.int32(),
    "images": pa.list_(pa.string()),
}
ZSTD_LEVEL = 3


def token_schema(formats: Iterable[DataFormat], *, with_images: bool) -> pa.Schema:
    """The columns of samples of the given shapes."""
    wanted = {"input_ids"}
    for name in formats:
        wanted |= {"labels"} if name != "text" else set()
        wanted |= {"rejected_input_ids", "rejected_labels"} if name == "preference" else set()
        wanted |= {"is_good"} if name == "kto" else set()
        wanted |= {"category"} if name == "turns" else set()
    wanted |= {"images"} if with_images else set()
    return pa.schema([(name, kind) for name, kind in _COLUMNS.items() if name in wanted])


@contextmanager
def token_writer(
    path: Path, schema: pa.Schema, compression: Compression
) -> Iterator[pq.ParquetWriter]:
    """A parquet file that is at `path` only when it is whole and on disk.

    Byte-split integers are smallest and fastest to write, compressed by any of the codecs.
    """
    lists = [field.name for field in schema if field.type == _INTS]
    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(
        partial,
        schema,
        compression=compression,
        compression_level=ZSTD_LEVEL if compression == "zstd" else None,
        use_dictionary=False,
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists},
    ) as writer:
        yield writer
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read_batches(paths: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """The rows of parquet files in order, some thousand at a time."""
    for path in paths:
        yield from pq.ParquetFile(path).iter_batches(batch_size=4096)

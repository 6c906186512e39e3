"""Sorting more rows by a key than memory holds, through files of rows with neighbouring keys."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SLICE_BYTES = 16 << 20
_KEY = "key"
"""The last column of a bucket, known by its place: the data may have one of that name."""
KEY_SPACE = 2**64
_MOST_BUCKETS = 256
"""Files open at once, and what fits into one byte: numpy sorts bytes in linear time."""

Keyed = Iterable[tuple[pa.RecordBatch, npt.NDArray[np.uint64]]]


@dataclass
class Bucket:
    """A file of rows, in the order in which they came, whose keys are in start…end-1."""

    path: Path
    start: int
    end: int
    num_rows: int = 0
    num_bytes: int = 0
    """As it would take in memory."""


def sorted_rows(
    rows: Keyed,
    folder: Path,
    *,
    num_bytes: int,
    bucket_bytes: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[pa.Table]:
    """The rows, of about `num_bytes` in memory, in the order of their keys; ties as they came.

    Holds `bucket_bytes` of rows three times at most, and one batch. Needs room on the disk of
    `folder`, and leaves nothing there. `tell` hears of the rows that were read.
    """
    whole = Bucket(folder / "rows", 0, KEY_SPACE, num_bytes=num_bytes)
    pending = _scatter(rows, whole, bucket_bytes, tell)
    while pending:
        bucket = pending.pop(0)
        if bucket.num_bytes > bucket_bytes and bucket.num_rows > 1 < bucket.end - bucket.start:
            pending[:0] = _scatter(_read(bucket), bucket, bucket_bytes)
        elif bucket.num_rows:
            yield from _sorted(bucket)
        bucket.path.unlink(missing_ok=True)


def _scatter(
    rows: Keyed, whole: Bucket, bucket_bytes: int, tell: Callable[[int], None] = lambda _: None
) -> list[Bucket]:
    """Write the rows to the files of as many ranges of keys as are needed."""
    # A fifth more, since chance does not fill them evenly; at least two, so that it goes on.
    number = min(_MOST_BUCKETS, max(2, int(1.2 * whole.num_bytes / bucket_bytes) + 1))
    width = whole.end - whole.start
    bounds = [whole.start + width * index // number for index in range(number + 1)]
    inner = np.asarray(bounds[1:-1], dtype=np.uint64)
    buckets = [
        Bucket(whole.path.with_name(f"{whole.path.name}-{index}"), bounds[index], bounds[index + 1])
        for index in range(number)
    ]
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for batch, keys in rows:
            if not writers:
                schema = batch.schema.append(pa.field(_KEY, pa.uint64()))
                writers = [
                    stack.enter_context(pa.ipc.new_stream(str(b.path), schema, options=options))
                    for b in buckets
                ]
            places = np.searchsorted(inner, keys, side="right").astype(np.uint8)
            order = np.argsort(places, kind="stable")
            keyed = batch.append_column(_KEY, pa.array(keys)).take(order)
            start = 0
            for index, size in enumerate(np.bincount(places, minlength=number).tolist()):
                if size:
                    part = keyed.slice(start, size)
                    writers[index].write_batch(part)
                    buckets[index].num_rows += size
                    buckets[index].num_bytes += part.nbytes
                    start += size
            tell(batch.num_rows)
    return buckets


def _read(bucket: Bucket) -> Keyed:
    with pa.ipc.open_stream(pa.OSFile(str(bucket.path), "rb")) as reader:
        for batch in reader:
            yield batch.remove_column(batch.num_columns - 1), batch.columns[-1].to_numpy()


def _sorted(bucket: Bucket) -> Iterator[pa.Table]:
    """The rows of a bucket in order of keys, in slices, so that they are not all there twice."""
    with pa.ipc.open_stream(pa.OSFile(str(bucket.path), "rb")) as reader:
        table = reader.read_all()
    order = np.argsort(table.columns[-1].to_numpy(), kind="stable")
    # take() would join the chunks of a column for every slice.
    table = table.remove_column(table.num_columns - 1).combine_chunks()
    slices = max(1, -(-bucket.num_bytes // _SLICE_BYTES))
    for rows in np.array_split(order, min(slices, len(order))):
        yield table.take(rows)

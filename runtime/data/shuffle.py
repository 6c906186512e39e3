"""Shuffling parquet data sets of any size, within a memory limit."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fsft import __version__
from fsft.recipes.problems import Problem, RecipeError, Refused
from fsft.recipes.units import format_gib
from fsft.runtime.data.buckets import sorted_rows
from fsft.runtime.data.dataset import Dataset, open_dataset
from fsft.runtime.data.dataset_output import new_dataset
from fsft.runtime.data.dataset_parts import Compression, Layout, by_rows, write_parts
from fsft.runtime.data.info import (
    DataInfo,
    column_types,
    require_told_files,
    whole_info,
    write_info,
)

Tell = Callable[[str, int, int], None]
"""Hears of progress: what is done, how many rows, of how many."""

DEFAULT_MEMORY = 512 << 20
LEAST_MEMORY = 384 << 20
_BASE_MEMORY = 256 << 20
"""Of Python with its libraries, a batch and a row group, measured; the rest is for rows."""
_COPIES = 4
"""Of a bucket: as read, in one piece, sorted in part; and what the allocator keeps."""
_PART_BYTES = 1 << 30
"""Of a part in memory, where their number is not given."""


def shuffle(
    inputs: Sequence[Path],
    output: Path,
    *,
    seed: int = 0,
    memory_limit: int = DEFAULT_MEMORY,
    num_parts: int | None = None,
    compression: Compression = "zstd",
    overwrite: bool = False,
    tell: Tell = lambda *_: None,
) -> DataInfo:
    """Write all rows of the inputs in a random order, each order as likely as any other.

    `inputs` are parquet files and folders of them; they are only read. The order depends on the
    seed and the order of the input rows alone, and so does every byte of the parts: not on
    `memory_limit`, which is the resident memory of the process in bytes. A disk as large as the
    rows uncompressed is needed beside `output` for the time of the work.

    Raises Refused where an input is not whole or cannot be read, or the output would replace
    something, RunFailed on a full disk. The output is there only when it is whole.
    """
    if memory_limit < LEAST_MEMORY:
        raise RecipeError(f"shuffling needs {format_gib(LEAST_MEMORY)} of memory or more.")
    require_told_files(inputs)
    dataset = open_dataset(inputs)
    num_parts = num_parts or -(-dataset.num_bytes // _PART_BYTES)
    require_rows(dataset, num_parts)
    with new_dataset(output, inputs, overwrite=overwrite) as folder:
        rows = shuffled(
            dataset,
            folder / ".buckets",
            seed=seed,
            bucket_bytes=(memory_limit - _BASE_MEMORY) // _COPIES,
            tell=tell,
        )
        layout = Layout(dataset.schema, dataset.batch_rows, compression)
        told = telling(rows, lambda done: tell("write", done, dataset.num_rows))
        parts = write_parts(told, by_rows(num_parts, dataset.num_rows), folder, layout)
        made = {
            "by": f"fsft {__version__}, data shuffle",
            "seed": seed,
            "compression": compression,
            "inputs": [str(path.resolve()) for path in inputs],
        }
        info = whole_info(parts, column_types(dataset.schema), made)
        write_info(folder, info)
    return info


def shuffled(
    dataset: Dataset, scratch: Path, *, seed: int, bucket_bytes: int, tell: Tell = lambda *_: None
) -> Iterator[pa.Table]:
    """The rows of a data set in the order that the seed gives; `scratch` is there meanwhile."""
    scratch.mkdir()
    done = 0

    def read(rows: int) -> None:
        nonlocal done
        done += rows
        tell("read", done, dataset.num_rows)

    yield from sorted_rows(
        _keyed(dataset, seed),
        scratch,
        num_bytes=dataset.num_bytes + 8 * dataset.num_rows,
        bucket_bytes=bucket_bytes,
        tell=read,
    )
    scratch.rmdir()


def require_rows(dataset: Dataset, num_parts: int) -> None:
    """Raises Refused where there are fewer rows than parts, or none."""
    if dataset.num_rows < max(1, num_parts):
        raise Refused(
            Problem(
                file=str(dataset.files[0]),
                reason=f"{dataset.num_rows} rows in all are too few for {num_parts} parts.",
            )
        )


def telling(tables: Iterator[pa.Table], tell: Callable[[int], None]) -> Iterator[pa.Table]:
    """The tables, telling how many rows there were so far."""
    done = 0
    for table in tables:
        yield table
        done += table.num_rows
        tell(done)


def _keyed(dataset: Dataset, seed: int) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.uint64]]]:
    """A random 64-bit key a row: sorted by it, every order is as likely but for chance ties.

    One stream of keys runs through all rows, so batches may be cut anywhere.
    """
    stream = np.random.PCG64(seed)
    for batch in dataset.batches():
        yield batch, stream.random_raw(batch.num_rows)

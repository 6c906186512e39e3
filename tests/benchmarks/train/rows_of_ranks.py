"""Host memory of processes that read a training set together, as ranks of one machine do."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROW = 2048
"""Tokens of a row."""


def write_tokens(folder: Path, num_bytes: int) -> None:
    """A training set of rows of random token ids, `num_bytes` of them, four bytes each."""
    from fsft.runtime.data.training_set import Portion, write_training_set

    folder.mkdir()
    num_rows = num_bytes // 4 // ROW
    drawn = np.random.default_rng(0)
    at_once = 1024

    def batches() -> Any:
        for first in range(0, num_rows, at_once):
            number = min(at_once, num_rows - first)
            ids = pa.array(drawn.integers(0, 32_000, number * ROW, dtype=np.int32))
            offsets = pa.array(np.arange(number + 1, dtype=np.int32) * ROW)
            yield pa.RecordBatch.from_arrays(
                [pa.ListArray.from_arrays(offsets, ids)], names=["input_ids"]
            )

    write_training_set(folder, batches(), [Portion(num_rows)], sequence_length=ROW, packing=True)


def bytes_of_readers(folder: Path, num_ranks: int) -> int:
    """What opening a training set and reading every row adds to all ranks together (PSS)."""
    from tests.benchmarks.train.pss import pss_bytes

    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(num_ranks + 1)
    ranks = [
        context.Process(target=_read, args=(folder, rank, num_ranks, gate))
        for rank in range(num_ranks)
    ]
    for process in ranks:
        process.start()
    pids = [process.pid or os.getpid() for process in ranks]
    gate.wait()
    before = pss_bytes(pids)
    gate.wait()
    gate.wait()
    added = pss_bytes(pids) - before
    gate.wait()
    for process in ranks:
        process.join()
    return added


def _read(folder: Path, rank: int, num_ranks: int, gate: Any) -> None:
    from fsft.runtime.data.training_set import TokenRows
    from fsft.runtime.train.batches import BatchPlan

    np.random.default_rng(0).integers(0, 9, ROW).sum()
    gate.wait()
    gate.wait()
    rows = TokenRows(folder)
    plan = BatchPlan(
        rows.lengths,
        rows.extent,
        seed=0,
        micro_batch=1,
        gradient_accumulation=1,
        num_replicas=num_ranks,
        group_by_length=False,
    )
    for step in range(1, len(rows) // num_ranks + 1):
        for micro_batch in plan.micro_batches(step, rank):
            for row in micro_batch:
                rows[int(row)]
    gate.wait()
    gate.wait()

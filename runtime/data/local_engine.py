"""Tokenizing parts on this machine, in as many processes as are worth starting."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Literal

import pyarrow as pa

from fsft.recipes.problems import RunFailed
from fsft.recipes.schema import Data
from fsft.runtime.data.tokenize_part import PartCounts, PartTask, PartTokenizer

WORTH_A_PROCESS = 16_000_000
"""Bytes of input that take about as long as starting a process."""

PRELOADED = (
    "fsft.runtime.data.without_torch",
    __name__,
    "transformers.utils.chat_template_utils",
)
"""What the server of processes imports before it forks any."""

_settings: tuple[Path, Data, dict[str, pa.Schema]] | None = None
"""What a worker process makes its tokenizer of; set once, when the process starts."""


def start_server(data: Data, tasks: Sequence[PartTask]) -> None:
    """Let the server that forks the processes do its imports, where there will be any."""
    if num_workers(data.workers, tasks) > 1:
        _context()
        ensure_running()


def tokenize_locally(
    tasks: Sequence[PartTask], folder: Path, data: Data, schemas: dict[str, pa.Schema]
) -> Iterator[tuple[PartTask, PartCounts]]:
    """Each task with its counts, as they get done, in any order. Raises RunFailed."""
    workers = num_workers(data.workers, tasks)
    if workers == 1:
        tokenizer = PartTokenizer(folder, data, schemas)
        for task in tasks:
            yield task, tokenizer.tokenize(task)
        return
    with ProcessPoolExecutor(workers, _context(), _start, (folder, data, schemas)) as pool:
        futures = {pool.submit(_tokenize, task): task for task in tasks}
        try:
            for done in as_completed(futures):
                yield futures[done], done.result()
        except BrokenProcessPool:
            raise RunFailed(
                "a process that tokenized data was killed; most often memory ran out. What is done "
                "is kept: the same command goes on. Fewer data.workers need less memory."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def num_workers(wanted: int | Literal["auto"], tasks: Sequence[PartTask]) -> int:
    """The processes to use: one a core, but none that would have little to do."""
    if wanted != "auto":
        return max(1, min(wanted, len(tasks)))
    num_bytes = sum(task.num_bytes for task in tasks)
    return max(1, min(len(os.sched_getaffinity(0)), len(tasks), num_bytes // WORTH_A_PROCESS))


def _context() -> ForkServerContext:
    """A server that has imported everything forks the workers: quick, and free of threads."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _start(folder: Path, data: Data, schemas: dict[str, pa.Schema]) -> None:
    global _settings  # noqa: PLW0603 - the one place where a worker process keeps its own
    # Ctrl-C reaches the whole foreground group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    _settings = folder, data, schemas


@cache
def _tokenizer() -> PartTokenizer:
    """The tokenizer of a worker process.

    Loaded by the first task, for a task can tell why that failed, and a start that fails cannot.
    """
    assert _settings is not None
    return PartTokenizer(*_settings)


def _tokenize(task: PartTask) -> PartCounts:
    return _tokenizer().tokenize(task)

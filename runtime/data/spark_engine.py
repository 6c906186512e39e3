"""Tokenizing parts on a Spark cluster, for data that is too much for one machine.

Each task runs the same function as a local process does and writes the same file, so the folder
of the run, and local data files, must be reachable under the same path from every machine.
"""

import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fsft.recipes.problems import Problem, RunFailed
from fsft.recipes.schema import Data
from fsft.runtime.data.tokenize_part import PartCounts, PartTask, PartTokenizer, finished_counts

if TYPE_CHECKING:
    from pyspark import SparkContext

SECONDS_BETWEEN_LOOKS = 0.5

ON_THIS_MACHINE = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Java only hands out work here: cores belong to Python rather than to compilers of Java.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@cache
def start_spark(master: str) -> "Future[SparkContext]":
    """The context to be, once for this process: it takes seconds to start."""
    return ThreadPoolExecutor(1).submit(_context, master)


def tokenize_with_spark(
    tasks: Sequence[PartTask], folder: Path, data: Data, schemas: dict[str, pa.Schema]
) -> Iterator[tuple[PartTask, PartCounts]]:
    """Each task with its counts, as they get done. Raises RunFailed where the cluster fails."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        context = start_spark(data.spark_master).result()
        work = _Work(tasks, folder, data, schemas)
        work.begin()
        # Not a data frame: Spark's SQL would take as long to start as Spark itself.
        places = context.parallelize(range(len(tasks)), len(tasks))
        yield from _as_done(places.mapPartitions(work), tasks, folder)
    except PySparkException as error:
        raise _failed(data.spark_master, str(error)) from error
    except Py4JJavaError as error:
        reason = str(error.java_exception.toString()).splitlines()[0]
        raise _failed(data.spark_master, f"{reason} Is a master there?") from error


def _failed(master: str, reason: str) -> RunFailed:
    return RunFailed(
        Problem(
            key="data.spark_master",
            reason=f"Spark at {master} could not prepare the data: {reason}",
            example='engine = "local"',
        )
    )


def _as_done(
    job: Any, tasks: Sequence[PartTask], folder: Path
) -> Iterator[tuple[PartTask, PartCounts]]:
    """All tasks in one job, for only then does Spark use all of its cores.

    A job tells its results when all of it is done; finished parts are seen by their files.
    """
    pending = dict(enumerate(tasks))
    with ThreadPoolExecutor(1) as thread:
        collected = thread.submit(job.collect)
        try:
            while not wait([collected], SECONDS_BETWEEN_LOOKS).done:
                for place, task in list(pending.items()):
                    if counts := finished_counts(folder, task):
                        del pending[place]
                        yield task, counts
        finally:
            if not collected.done():
                job.context.cancelAllJobs()
    for place, counts in collected.result():
        if place in pending:
            yield pending[place], counts


class _Work:
    """What a Spark task does; travels to the executors, which tell each other by a file to stop."""

    def __init__(
        self, tasks: Sequence[PartTask], folder: Path, data: Data, schemas: dict[str, pa.Schema]
    ) -> None:
        self._tasks, self._settings = list(tasks), pickle.dumps((folder, data, schemas))
        self._stop = folder / "stop" if data.on_error == "stop" else None

    def begin(self) -> None:
        """Forget that an earlier job was told to stop."""
        if self._stop:
            self._stop.unlink(missing_ok=True)

    def __call__(self, places: Iterable[int]) -> Iterator[tuple[int, PartCounts]]:
        for place in places:
            if self._stop and self._stop.exists():
                return
            counts = _loaded(self._settings).tokenize(self._tasks[place])
            if self._stop and counts.problems:
                self._stop.touch()
            yield place, counts


@lru_cache(maxsize=1)
def _loaded(settings: bytes) -> PartTokenizer:
    """Loaded once in each Python process, which Spark keeps from task to task."""
    return PartTokenizer(*pickle.loads(settings))


def _context(master: str) -> "SparkContext":
    from pyspark import SparkConf, SparkContext

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.pyspark.python": sys.executable,
        "spark.python.daemon.module": "fsft.runtime.data.spark_daemon",
        "spark.python.worker.reuse": "true",
        "spark.executorEnv.RAYON_NUM_THREADS": "1",
        "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(sys.path),
    }
    if master.startswith("local"):
        settings |= ON_THIS_MACHINE
    conf = SparkConf().setMaster(master).setAppName("fsft data").setAll(list(settings.items()))
    return SparkContext.getOrCreate(conf)

"""Tokenizing parts on a Spark cluster, for data that is too much for one machine.

Each task runs the same function as a local process does and writes the same file, so the folder
of the run, and local data files, must be reachable under the same path from every machine.
"""

import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fsft.recipes.problems import Problem, RunFailed
from fsft.recipes.schema import Data
from fsft.runtime.data.tokenize_part import PartCounts, PartTask, PartTokenizer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def tokenize_with_spark(
    tasks: Sequence[PartTask], folder: Path, data: Data, schemas: dict[str, pa.Schema]
) -> Iterator[tuple[PartTask, PartCounts]]:
    """Each task with its counts, as they get done. Raises RunFailed where the cluster fails."""
    from pyspark.errors import PySparkException

    try:
        session = _session(data.spark_master)
        places = session.range(0, len(tasks), 1, len(tasks))
        work = _Work(list(tasks), folder, data, schemas)
        done = places.mapInArrow(work, "place long, counts binary")
        rows: Iterator[Any] = done.toLocalIterator(prefetchPartitions=True)
        for place, counts in rows:
            yield tasks[place], pickle.loads(counts)
    except PySparkException as error:
        raise RunFailed(
            Problem(
                key="data.spark_master",
                reason=f"Spark at {data.spark_master} could not prepare the data: {error}",
                example='engine = "local"',
            )
        ) from error


class _Work:
    """What a Spark task does; travels to the executors, where the tokenizer is loaded once."""

    def __init__(self, tasks: list[PartTask], *settings: Any) -> None:
        self._tasks, self._settings = tasks, settings

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tokenizer = PartTokenizer(*self._settings)
        for batch in batches:
            for place in batch.to_pydict()["id"]:
                counts = pickle.dumps(tokenizer.tokenize(self._tasks[place]))
                yield pa.RecordBatch.from_pydict({"place": [place], "counts": [counts]})


def _session(master: str) -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master).appName("fsft data")
    if master.startswith("local"):
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config(
            "spark.driver.host", "127.0.0.1"
        )
    settings = {
        "spark.ui.enabled": "false",
        "spark.pyspark.python": sys.executable,
        "spark.executorEnv.RAYON_NUM_THREADS": "1",
        "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(sys.path),
        # A tokenizer is loaded once for each Python process, which Spark keeps between tasks.
        "spark.python.worker.reuse": "true",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()

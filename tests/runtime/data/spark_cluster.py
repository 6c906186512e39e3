"""A Spark cluster on this machine: one master and some workers, each a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

START_SECONDS = 90


@contextmanager
def spark_cluster(folder: Path, *, num_workers: int) -> Iterator[str]:
    """The address of a master with its workers, until the block ends."""
    with ExitStack() as stack:
        log = folder / "master.log"
        stack.enter_context(_running("master.Master", log, "--host", "127.0.0.1", "--port", "0"))
        address = _awaited(log, r"Starting Spark master at (spark://\S+)")
        for number in range(num_workers):
            own = folder / f"worker{number}.log"
            limits = ("--cores", "1", "--memory", "1G", "--work-dir", str(folder / f"w{number}"))
            place = ("--host", "127.0.0.1", "--webui-port", "0", *limits, address)
            stack.enter_context(_running("worker.Worker", own, *place))
            _awaited(own, r"(Successfully registered with master)")
        yield address


@contextmanager
def _running(kind: str, log: Path, *arguments: str) -> Iterator[None]:
    import pyspark

    home = Path(pyspark.__file__).parent
    command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", *arguments]
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _awaited(log: Path, pattern: str) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.2)
    raise TimeoutError(f"Spark did not start:\n{log.read_text(errors='replace')[-2000:]}")

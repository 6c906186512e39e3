"""Memory and time of shuffling: `python -m tests.benchmarks.data.shuffle [--rows N]`.

Each case runs in a process of its own, whose peak of resident memory is what the operating system
tells of it, interpreter and libraries included.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE = 250_000
_PRELUDE = r"""
import json, re, sys, time
from pathlib import Path
source, output, memory = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
start = time.perf_counter()
"""
_OURS = """
from fsft.runtime.data.shuffle import shuffle
shuffle([source], output, seed=1, memory_limit=memory)
"""
_DATASETS = """
from datasets import Dataset
data = Dataset.from_parquet(str(source), cache_dir=str(output))
data.shuffle(seed=1).to_parquet(str(output / "shuffled.parquet"))
"""
_TELL = r"""
seconds = time.perf_counter() - start
# ru_maxrss would also count what the parent held when it forked.
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"seconds": seconds, "peak_bytes": peak}))
"""


def measure_shuffle(num_rows: int = 10_000_000, memory_limit: int = 512 << 20) -> dict[str, object]:
    """Peak of resident memory in bytes and rows a second, for plain ids and for lists of tokens."""
    with tempfile.TemporaryDirectory(prefix="fsft-shuffle-") as folder:
        return {
            name: _measure(Path(folder), make, num_rows, memory_limit)
            for name, make in CASES.items()
        }


def measure_against_datasets(num_rows: int = 1_000_000) -> dict[str, object]:
    """Lists of tokens by `datasets` and by fsft in turn; the ratio is of rows a second."""
    with tempfile.TemporaryDirectory(prefix="fsft-shuffle-") as folder:
        source, output = Path(folder) / "source.parquet", Path(folder) / "output"
        _write(source, _token_lists, num_rows)
        told = {
            name: _run(code, source, output, 512 << 20)
            for name, code in (("datasets", _DATASETS), ("fsft", _OURS))
        }
    ratio = told["datasets"]["seconds"] / told["fsft"]["seconds"]
    return {"rows": num_rows, **told, "ratio_vs_datasets": ratio}


def _measure(
    folder: Path, make: Callable[[int, int], pa.Table], num_rows: int, memory_limit: int
) -> dict[str, object]:
    source = folder / "source.parquet"
    _write(source, make, num_rows)
    told = _run(_OURS, source, folder / "output", memory_limit)
    return {
        "rows": num_rows,
        **told,
        "rows_per_second": num_rows / told["seconds"],
        "memory_limit": memory_limit,
        "within_limit": told["peak_bytes"] <= memory_limit,
    }


def _write(source: Path, make: Callable[[int, int], pa.Table], num_rows: int) -> None:
    with pq.ParquetWriter(source, make(0, 1).schema) as writer:
        for start in range(0, num_rows, ROWS_AT_ONCE):
            writer.write_table(make(start, min(num_rows, start + ROWS_AT_ONCE)))


def _run(code: str, source: Path, output: Path, memory_limit: int) -> dict[str, float]:
    """Seconds and peak of memory, imports included, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + code + _TELL, source, output, str(memory_limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.rmtree(output)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _ids(start: int, end: int) -> pa.Table:
    return pa.table({"id": np.arange(start, end)})


def _token_lists(start: int, end: int) -> pa.Table:
    number = end - start
    tokens = np.random.default_rng(start).integers(0, 32_000, 20 * number, dtype=np.int32)
    offsets = np.arange(0, 20 * number + 1, 20, dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens))
    return pa.table({"id": np.arange(start, end), "input_ids": lists})


CASES: dict[str, Callable[[int, int], pa.Table]] = {
    "plain ids": _ids,
    "lists of 20 tokens": _token_lists,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--memory", type=int, default=512 << 20, help="the limit in bytes")
    options = parser.parse_args()
    told = measure_shuffle(options.rows, options.memory)
    told["against datasets"] = measure_against_datasets(min(options.rows, 1_000_000))
    print(json.dumps(told, indent=2))

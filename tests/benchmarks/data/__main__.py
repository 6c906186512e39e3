"""Raw text to token ids: fsft against datasets.map and against the tokenizers library.

`python -m tests.benchmarks.data [--input FILE…] [--tokenizer FOLDER] [--megabytes N] [--json]`:
all read the same jsonl and write parquet, one after the other, starting included. Ids are compared.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from fsft.runtime.data.info import read_info
from tests.benchmarks.data.corpus import write_corpus, write_tokenizer
from tests.benchmarks.data.measured import Cost, run_measured
from tests.benchmarks.data.peers import PEERS
from tests.benchmarks.data.reading import measure_reading

MEGABYTES = 200
ON_SPARK = ('data.engine="spark"', 'data.spark_master="local[2]"')

RECIPE = """\
schema = 1
name = "benchmark"
[model]
path = {tokenizer}
init = "random"
[[data.train]]
path = {corpus}
format = "text"
[data]
sequence_length = 1000000000
workers = 2
[budget]
epochs = 1
[optimizer]
learning_rate = 1e-5
"""


def main() -> None:
    """Measure, and print a line each, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, nargs="+", default=[], help="data files of any kind")
    parser.add_argument("--tokenizer", type=Path, help="a folder with tokenizer.json")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="text to work on")
    parser.add_argument("--spark", action="store_true", help="measure Spark on this machine too")
    parser.add_argument("--no-peers", action="store_true", help="measure fsft alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28} {value:12.4g}" if isinstance(value, float) else f"{name:28} {value}")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, peak memory in MiB, ratios (peer ÷ fsft in time), and whether ids are the same."""
    corpus, tokenizer = folder / "corpus.jsonl", options.tokenizer
    if tokenizer is None:
        tokenizer = folder / "trained"
        write_tokenizer(tokenizer)
    num_documents = write_corpus(options.input, options.megabytes * 1_000_000, corpus)
    recipe = folder / "recipe.toml"
    quoted = {
        "tokenizer": json.dumps(str(_with_config(tokenizer, folder))),
        "corpus": json.dumps(str(corpus)),
    }
    recipe.write_text(RECIPE.format(**quoted), encoding="utf-8")
    own = _fsft(recipe, folder, "local")
    files = sorted((folder / "local" / "train").glob("*.parquet"))
    num_tokens = sum(len(ids) for ids in _all_ids(files))
    result: dict[str, Any] = {
        "megabytes": corpus.stat().st_size / 1e6,
        "documents": num_documents,
        "tokens": num_tokens,
        "engine": _engines(folder / "local"),
        "fsft_seconds": own.seconds,
        "fsft_tokens_per_second": num_tokens / own.seconds,
        "fsft_peak_mib": own.peak_mib,
        "second_run_seconds": _fsft(recipe, folder, "local").seconds,
    }
    if not options.no_peers:
        for name in PEERS:
            cost, is_same = _peer(name, corpus, tokenizer, folder, files)
            result |= {
                f"{name}_seconds": cost.seconds,
                f"{name}_peak_mib": cost.peak_mib,
                f"ratio_vs_{name}": cost.seconds / own.seconds,
                f"identical_to_{name}": is_same,
            }
    if options.spark:
        spark = _fsft(recipe, folder, "spark", *ON_SPARK)
        others = sorted((folder / "spark" / "train").glob("*.parquet"))
        result |= {
            "spark_seconds": spark.seconds,
            "spark_vs_local": spark.seconds / own.seconds,
            "identical_to_spark": [f.read_bytes() for f in files]
            == [f.read_bytes() for f in others],
        }
    return result | measure_reading(files, folder / "rows")


def _fsft(recipe: Path, folder: Path, out: str, *overrides: str) -> Cost:
    command = [sys.executable, "-m", "fsft", "data", "tokenize", str(recipe)]
    settings = [argument for value in overrides for argument in ("--set", value)]
    return run_measured([*command, "--out", str(folder / out), *settings], folder)


def _peer(
    name: str, corpus: Path, tokenizer: Path, folder: Path, files: list[Path]
) -> tuple[Cost, bool]:
    parquet = folder / f"{name}.parquet"
    command = [sys.executable, "-m", "tests.benchmarks.data.peers", name]
    cost = run_measured([*command, str(corpus), str(tokenizer), str(parquet)], folder)
    pairs = zip(_all_ids(files), _all_ids([parquet]), strict=True)
    return cost, all(np.array_equal(own, other) for own, other in pairs)


def _all_ids(files: list[Path]) -> Iterator[npt.NDArray[np.int32]]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(columns=["input_ids"]):
            column: Any = batch.column(0)
            values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
            for start, end in pairwise(offsets):
                yield values[start:end]


def _engines(folder: Path) -> str:
    return ", ".join(read_info(folder).made["splits"]["train"]["engines"])


def _with_config(tokenizer: Path, folder: Path) -> Path:
    """A model folder with this tokenizer: recipes name models, and a model has a config.json."""
    model = folder / "model"
    model.mkdir()
    for file in tokenizer.iterdir():
        if file.is_file():
            (model / file.name).symlink_to(file.resolve())
    (model / "config.json").unlink(missing_ok=True)
    (model / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return model


if __name__ == "__main__":
    main()

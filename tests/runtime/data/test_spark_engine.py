"""Spark on this machine: what it says and leaves is what the local processes say and leave."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import (
    TINY_RECIPE,
    dialogue,
    fsft,
    fsft_command,
    fsft_environment,
    only_run,
    steps_in,
    write_jsonl,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _needs_java() -> None:
    pytest.importorskip("pyspark")
    if subprocess.run(["java", "-version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no java here")


def tokenize(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    settings = [argument for value in overrides for argument in ("--set", value)]
    command = fsft_command("data", "tokenize", folder / "recipe.toml", "--out", folder / "out")
    return subprocess.run(
        [*command, *settings],
        env=fsft_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def write_files(folder: Path, broken: int) -> None:
    (folder / "data").mkdir(exist_ok=True)
    for number in range(4):
        file = write_jsonl(folder / "data" / f"{number}.jsonl", some_rows(number))
        if number == broken:
            file.write_text(file.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")
    recipe = TINY_RECIPE.replace('path = "train.jsonl"', 'path = "data"')
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")


def some_rows(number: int) -> list[dict[str, Any]]:
    return [dialogue(f"question {number} {i}", f"answer {i}") for i in range(50)]


ON_SPARK = ('data.engine="spark"', 'data.spark_master="local[2]"')


def test_a_broken_row_is_named_and_what_was_finished_is_gone_on_with(tmp_path: Path) -> None:
    write_files(tmp_path, broken=2)
    refused = tokenize(tmp_path, *ON_SPARK)
    assert refused.returncode == 3
    assert "2.jsonl:51" in refused.stderr
    assert not (tmp_path / "out").exists()
    skipped = tokenize(tmp_path, *ON_SPARK, 'data.on_error="skip"')
    assert skipped.returncode == 0, skipped.stderr
    assert "200 samples of 201 rows" in skipped.stdout


def test_a_master_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, broken=-1)
    failed = tokenize(tmp_path, 'data.engine="spark"', 'data.spark_master="spark://127.0.0.1:9"')
    assert failed.returncode == 1
    assert "spark://127.0.0.1:9" in failed.stderr
    assert "Traceback" not in failed.stderr


WRITE = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
ids = [([3 + i, 40, 50, 60], [-100, 40, 50, 60]) for i in range(40)]
spark.createDataFrame(ids, "ids array<int>, targets array<int>").repartition(3).write.parquet(
    sys.argv[1] + "/tokens"
)
rows = [(f"question {i}", f"answer {i}") for i in range(40)]
spark.createDataFrame(rows, "question string, reply string").repartition(3).write.parquet(
    sys.argv[1] + "/rows"
)
"""
TRAIN = """data.train=[
{ path = "tokens", format = "tokens", columns = { input_ids = "ids", labels = "targets" } },
{ path = "rows", columns = { prompt = "question", answer = "reply" } }]""".replace("\n", " ")


def test_parquet_that_spark_wrote_is_trained_on_by_a_map_of_its_columns(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE, tmp_path], check=True, timeout=300)
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE, encoding="utf-8")
    steps = ("--set", "budget.steps=2", "--until", "train")
    done = fsft("run", "tiny.toml", "--set", TRAIN, *steps, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    ids, rows = json.loads((run / "data" / "info.json").read_text())["splits"]["train"]["sources"]
    assert (ids["format"], ids["num_used"]) == ("tokens", 40)
    assert (rows["format"], rows["num_used"]) == ("prompt_answer", 40)
    assert len(steps_in(run)) == 2

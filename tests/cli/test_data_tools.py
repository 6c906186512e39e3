"""`fsft data shuffle`, `repartition` and `info`: what they print, and what they refuse."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runtime.data.parquet import contents, write_tokens
from tests.support import fsft, fsft_command, fsft_environment, write_tiny_recipe


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two files of token ids."""
    write_tokens(tmp_path / "in" / "one.parquet", range(30))
    write_tokens(tmp_path / "in" / "two.parquet", range(10), first=30)
    return tmp_path / "in"


def refusal(folder: Path, *arguments: str | Path, code: int = 3) -> str:
    """What `fsft data …` says when it refuses."""
    done = fsft("data", *arguments, cwd=folder)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_shuffle_is_described_to_people_and_programs(tmp_path: Path, source: Path) -> None:
    done = fsft("data", "shuffle", source, "--out", "out", "--parts", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("samples", "40", "tokens", "480", "partitions", "part-00001.parquet"):
        assert said in done.stdout
    told = json.loads((tmp_path / "out" / "data.info").read_text())
    assert (told["samples"], told["tokens"], told["partitions"]) == (40, 480, 2)
    assert sum(file["bytes"] for file in told["files"]) == sum(
        path.stat().st_size for path in (tmp_path / "out").glob("*.parquet")
    )
    asked = fsft("data", "info", "out", "--json", cwd=tmp_path)
    assert json.loads(asked.stdout) == told


def test_repartition_balances_tokens(tmp_path: Path, source: Path) -> None:
    arguments = ("--out", "out", "--parts", "4", "--by", "tokens", "--json")
    done = fsft("data", "repartition", source, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tokens = [file["tokens"] for file in json.loads(done.stdout)["files"]]
    assert len(tokens) == 4
    assert max(tokens) - min(tokens) <= 2 * 29


def test_a_folder_without_data_info_and_a_single_file_are_counted(
    tmp_path: Path, source: Path
) -> None:
    told = json.loads(fsft("data", "info", source, "--json", cwd=tmp_path).stdout)
    assert (told["samples"], told["tokens"], told["made"]) == (40, 480, {})
    told = json.loads(fsft("data", "info", source / "two.parquet", "--json", cwd=tmp_path).stdout)
    assert (told["samples"], told["tokens"], told["learned_tokens"]) == (10, 45, 20)


def test_a_run_is_asked_by_its_folder(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    done = fsft("run", "tiny.toml", "--until", "prepare", "--json", cwd=tmp_path)
    run = json.loads(done.stdout)["run"]
    told = json.loads(fsft("data", "info", run, "--json", cwd=tmp_path).stdout)
    assert told["samples"] == 8
    assert 0 < told["learned_tokens"] < told["tokens"]


def test_training_and_evaluation_are_never_mixed(tmp_path: Path, source: Path) -> None:
    for name in ("tokenizer", "train", "eval"):
        (source / name).mkdir()
    said = refusal(tmp_path, "shuffle", source, "--out", "out")
    assert "keeps train and eval apart" in said


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path, source: Path) -> None:
    (source / "broken.parquet").write_text("no parquet")
    (source / "empty.parquet").write_bytes(b"")
    said = refusal(tmp_path, "shuffle", source, "--out", "out")
    assert "broken.parquet: cannot be read as parquet" in said
    assert "empty.parquet: cannot be read as parquet" in said
    (tmp_path / "bare").mkdir()
    said = refusal(tmp_path, "shuffle", "bare", "none.parquet", "--out", "out")
    assert "bare: holds no parquet file" in said
    assert "none.parquet: there is no such file or folder" in said
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_broken_inside_is_named_and_leaves_nothing(
    tmp_path: Path, source: Path
) -> None:
    path = source / "one.parquet"
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + b"\xff" * 900 + whole[904:])
    said = refusal(tmp_path, "shuffle", source, "--out", "out")
    assert "one.parquet: cannot be read as parquet" in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_the_output_never_takes_the_place_of_something(tmp_path: Path, source: Path) -> None:
    assert "lies in the input" in refusal(tmp_path, "shuffle", "in", "--out", "in")
    assert "lies in the input" in refusal(tmp_path, "shuffle", "in", "--out", "in/out")
    assert "holds the input" in refusal(
        tmp_path, "repartition", "in/one.parquet", "--out", "in", "--parts", "1", "--overwrite"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "out: exists" in refusal(tmp_path, "shuffle", "in", "--out", "out")
    assert "not written by fsft" in refusal(
        tmp_path, "shuffle", "in", "--out", "out", "--overwrite"
    )
    shutil.rmtree(tmp_path / "out")
    assert fsft("data", "shuffle", "in", "--out", "out", cwd=tmp_path).returncode == 0
    before = contents(tmp_path / "out")
    again = fsft("data", "shuffle", "in", "--out", "out", "--overwrite", cwd=tmp_path)
    assert (again.returncode, contents(tmp_path / "out")) == (0, before)


def test_a_link_as_output_leads_to_where_the_data_set_is_written_and_stays(
    tmp_path: Path, source: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/out")
    for more in ((), ("--overwrite",)):
        done = fsft("data", "shuffle", source, "--out", "link", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "disk" / "out" / "data.info").exists()


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path, source: Path) -> None:
    write_tiny_recipe(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "notes.txt").write_text("mine")
    for out, reason in (
        ("loop", "is a link that leads to itself"),
        ("notes.txt/out", "notes.txt is no folder"),
    ):
        assert reason in refusal(tmp_path, "shuffle", source, "--out", out)
        assert reason in refusal(tmp_path, "tokenize", "tiny.toml", "--out", out)


def test_a_folder_that_is_read_only_is_refused(
    tmp_path: Path, small_disk: Path, source: Path
) -> None:
    write_tiny_recipe(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    reason = f"{small_disk} cannot be written to"
    assert reason in refusal(tmp_path, "shuffle", source, "--out", small_disk / "out")
    assert reason in refusal(tmp_path, "tokenize", "tiny.toml", "--out", small_disk / "out")


def test_changed_files_are_told_from_those_that_data_info_knows(
    tmp_path: Path, source: Path
) -> None:
    assert fsft("data", "shuffle", source, "--out", "out", cwd=tmp_path).returncode == 0
    (tmp_path / "out" / "part-00000.parquet").unlink()
    assert "is not the file that data.info tells of" in refusal(tmp_path, "info", "out")
    for text in ("{}", "{bad", "null", "[" * 100_000):
        (tmp_path / "out" / "data.info").write_text(text)
        said = refusal(tmp_path, "info", "out")
        assert "data.info: is not as fsft writes it. For example: delete it" in said


def test_a_data_set_that_lacks_or_has_gained_a_file_is_not_passed_on(
    tmp_path: Path, source: Path
) -> None:
    arguments = ("--out", "out", "--parts", "2")
    assert fsft("data", "shuffle", source, *arguments, cwd=tmp_path).returncode == 0
    one, more = (tmp_path / "out" / f"part-0000{number}.parquet" for number in (1, 2))
    one.rename(more)
    for command in (("shuffle", "out"), ("repartition", "out", "--parts", "1")):
        said = refusal(tmp_path, *command, "--out", "other")
        assert f"{one.name}: is not the file that data.info tells of" in said
        assert f"{more.name}: is a file that data.info does not tell of" in said
    assert not (tmp_path / "other").exists()


def test_memory_must_be_a_size_and_enough(tmp_path: Path, source: Path) -> None:
    said = refusal(tmp_path, "shuffle", source, "--out", "out", "--memory", "much", code=2)
    assert "`much` is not a size" in said
    said = refusal(tmp_path, "shuffle", source, "--out", "out", "--memory", "1MB", code=2)
    assert "0.38 GiB of memory or more" in said


def test_a_full_disk_is_named_and_nothing_is_left_on_it(tmp_path: Path, small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**62, 700_000)
    pq.write_table(pa.table({"id": noise}), tmp_path / "in.parquet")
    out = small_disk / "out"
    said = refusal(tmp_path, "shuffle", "in.parquet", "--out", out, code=1)
    assert "no space is left on the disk" in said
    assert list(small_disk.iterdir()) == []
    assert fsft("data", "shuffle", "in.parquet", "--out", "out", cwd=tmp_path).returncode == 0


def test_a_full_disk_is_named_when_token_ids_are_written_and_the_same_command_goes_on(
    tmp_path: Path, small_disk: Path
) -> None:
    write_tiny_recipe(tmp_path)
    fill, out = small_disk / "fill", small_disk / "tokens"
    fill.write_bytes(bytes(4 * 1024**2 - 16 * 1024))
    said = refusal(tmp_path, "tokenize", "tiny.toml", "--out", out, code=1)
    assert f"no space is left on the disk that holds {out}" in said
    fill.unlink()
    done = fsft("data", "tokenize", "tiny.toml", "--out", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 75, "stopped on SIGTERM")],
)
def test_a_shuffle_that_is_stopped_says_so_and_leaves_nothing(
    tmp_path: Path, number: int, code: int, said: str
) -> None:
    pq.write_table(pa.table({"id": np.arange(3_000_000)}), tmp_path / "in.parquet")
    process = subprocess.Popen(
        fsft_command("data", "shuffle", "in.parquet", "--out", "out"),
        cwd=tmp_path,
        env=fsft_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".out-*/.buckets/rows-*")):
        time.sleep(0.01)
    process.send_signal(number)
    assert said in process.communicate()[1]
    assert process.returncode == code
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_kill_leaves_no_output_and_a_rerun_completes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": np.arange(3_000_000)}), tmp_path / "in.parquet")
    process = subprocess.Popen(
        fsft_command("data", "shuffle", "in.parquet", "--out", "out"),
        cwd=tmp_path,
        env=fsft_environment(),
    )
    while not list(tmp_path.glob(".out-*/.buckets/rows-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    done = fsft("data", "shuffle", "in.parquet", "--out", "out", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["rows"] == 3_000_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []

"""Raw files to token ids: the same whoever does it, gone on with after a kill, nothing lost."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused, RunFailed
from fsft.recipes.schema import Recipe
from fsft.runtime.data import engines, local_engine, tokenize
from fsft.runtime.data.engines import Reference, TokenIds
from fsft.runtime.data.samples import MAX_PROBLEMS
from fsft.runtime.data.store import read_batches
from fsft.runtime.data.token_folder import write_token_folder
from fsft.runtime.data.tokenize import SplitTokens
from fsft.runtime.data.tokenizer import saved_tokenizer
from tests.support import TINY_RECIPE, dialogue, fsft_command, fsft_environment, write_jsonl

WORDS = [
    "plan",
    "a",
    "run",
    "before",
    "it",
    "costs",
    "anything",
    "and",
    "share",
    "what",
    "was",
    "learned",
    "你好",
    "世界",
]


def rows(number: int) -> list[dict[str, Any]]:
    """Dialogues that differ from each other."""
    random = np.random.default_rng(7)
    return [
        dialogue(
            f"{i}: {' '.join(random.choice(WORDS, 9))}", " ".join(random.choice(WORDS, i % 30))
        )
        for i in range(1, number + 1)
    ]


def recipe(folder: Path, *overrides: str) -> Recipe:
    return resolve_paths(parse_recipe(TINY_RECIPE, overrides=overrides), folder)


def tokenized(given: Recipe, out: Path) -> SplitTokens:
    out.mkdir(exist_ok=True)
    if not (out / "tokenizer").exists():
        shutil.copytree(tokenizer_folder(), out / "tokenizer")
    return tokenize.tokenize(out, given.data, lambda *_: None)["train"]


@cache
def tokenizer_folder() -> Path:
    """A tokenizer as prepare saves it, made once."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_jsonl(folder / "train.jsonl", rows(400))
    return saved_tokenizer(recipe(folder), folder)


def contents(tokens: SplitTokens) -> list[bytes]:
    return [file.read_bytes() for file in tokens.files]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some hundred rows, so that there is something to share out."""
    monkeypatch.setattr(tokenize, "PART_BYTES", 20_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "train.jsonl", rows(400))
    return tmp_path


def test_any_number_of_workers_makes_the_same_files(folder: Path, small_parts: None) -> None:
    one = tokenized(recipe(folder, "data.workers=1"), folder / "one")
    two = tokenized(recipe(folder, "data.workers=2"), folder / "two")
    assert len(one.files) > 3
    assert [file.name for file in one.files] == [file.name for file in two.files]
    assert contents(one) == contents(two)
    assert one.parts == two.parts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_cannot_load_the_tokenizer_says_why(
    workers: int, folder: Path, small_parts: None
) -> None:
    shutil.copytree(tokenizer_folder(), folder / "out" / "tokenizer")
    (folder / "out" / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(OSError, match=r"No such file or directory: .*tokenizer\.json"):
        tokenized(recipe(folder, f"data.workers={workers}"), folder / "out")


def test_a_worker_that_is_killed_is_told_as_killed(
    folder: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_engine, "_tokenize", _die)
    with pytest.raises(RunFailed, match="was killed; most often memory ran out"):
        tokenized(recipe(folder, "data.workers=2"), folder / "out")


def _die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_parts_make_the_rows_of_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokenized(recipe(folder), folder / "whole")
    monkeypatch.setattr(tokenize, "PART_BYTES", 10_000)
    parts = tokenized(recipe(folder), folder / "parts")
    assert len(whole.files) == 1 < len(parts.files)
    tables = [pa.Table.from_batches(list(read_batches(t.files))) for t in (whole, parts)]
    assert tables[0].equals(tables[1])
    assert parts.sources == whole.sources


@pytest.mark.slow
def test_a_spark_cluster_makes_the_same_files(folder: Path, small_parts: None) -> None:
    """One master and two workers on this machine, as they would be on three."""
    pytest.importorskip("pyspark")
    if subprocess.run(["java", "-version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no java here")
    from tests.runtime.data.spark_cluster import spark_cluster

    local = tokenized(recipe(folder), folder / "local")
    with spark_cluster(folder, num_workers=2) as master:
        settings = ('data.engine="spark"', f'data.spark_master="{master}"')
        spark = tokenized(recipe(folder, *settings), folder / "spark")
    assert len(local.files) > 3
    assert contents(local) == contents(spark)


def test_what_was_done_before_a_kill_is_not_done_again(folder: Path, small_parts: None) -> None:
    tokens = tokenized(recipe(folder), folder / "out")
    before = contents(tokens)
    times = [file.stat().st_mtime_ns for file in tokens.files]
    tokens.files[1].unlink()
    tokens.files[2].with_suffix(".json").unlink()
    again = tokenized(recipe(folder), folder / "out")
    assert contents(again) == before
    redone = [f.stat().st_mtime_ns != t for f, t in zip(again.files, times, strict=True)]
    assert redone == [index in (1, 2) for index in range(len(times))]


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    """SIGKILL in the middle, of the command and of all its workers."""
    write_jsonl(tmp_path / "train.jsonl", rows(1000) * 300)
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    workers = ("--set", "data.workers=2", "--set", "data.sequence_length=256")
    command = fsft_command("data", "tokenize", "tiny.toml", *workers)

    def start(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, "--out", out], cwd=tmp_path, env=fsft_environment(), start_new_session=True
        )

    undisturbed = start("whole")
    assert undisturbed.wait(300) == 0
    killed = start("killed")
    for _ in range(3000):
        if any(tmp_path.glob(".killed-*/train/part-*.json")) or killed.poll() is not None:
            break
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed").exists()
    assert start("killed").wait(300) == 0
    names = [file.name for file in sorted((tmp_path / "whole" / "train").glob("*.parquet"))]
    assert len(names) > 1
    for name in names:
        whole, other = (tmp_path / out / "train" / name for out in ("whole", "killed"))
        assert whole.read_bytes() == other.read_bytes()


def test_a_second_run_of_a_finished_folder_does_nothing(folder: Path) -> None:
    def write() -> Any:
        return write_token_folder(
            recipe(folder), folder / "out", overwrite=False, on_progress=lambda *_: None
        )

    first = write()
    times = {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*")}
    assert write() == first
    assert {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*")} == times


def test_a_folder_with_other_data_is_not_overwritten_by_chance(folder: Path) -> None:
    def write(*overrides: str, overwrite: bool = False) -> Any:
        given = recipe(folder, *overrides)
        return write_token_folder(given, folder / "out", overwrite=overwrite, on_progress=nothing)

    write()
    with pytest.raises(Refused, match="exists"):
        write("data.sequence_length=64")
    assert write("data.sequence_length=64", overwrite=True).rows < 400


def test_a_fast_engine_that_errs_is_given_up_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Errs(Reference):
        name = "errs"

        def encode(self, texts: Sequence[str]) -> TokenIds:
            return super().encode([text.replace("200: ", "") for text in texts])

    right = tokenized(recipe(folder), folder / "right")
    monkeypatch.setattr(engines, "_Fastokens", lambda _: Errs(_loaded(folder / "right")))
    monkeypatch.setattr(engines, "CHECKED_SHARE", 1.0)
    found = tokenized(recipe(folder), folder / "found")
    assert contents(found) == contents(right)
    assert found.engines == ["tokenizers"]
    (trouble,) = found.troubles
    assert "errs and tokenizers give different ids" in trouble


def test_every_broken_row_is_named_with_its_line_in_the_file(
    folder: Path, small_parts: None
) -> None:
    lines = (folder / "train.jsonl").read_text().splitlines()
    for number in (150, 151, 390):
        lines[number - 1] = '{"messages": [{"role": "king", "content": "x"}]}'
    (folder / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(Refused) as refused:
        tokenized(recipe(folder, "data.workers=1"), folder / "out")
    named = [problem.line for problem in refused.value.problems if problem.line]
    assert named[:2] == [150, 151]
    skipping = tokenized(recipe(folder, 'data.on_error="skip"'), folder / "out")
    assert skipping.sources[0].num_broken == 3
    assert skipping.sources[0].num_used + skipping.sources[0].num_empty == 397
    assert "train.jsonl:150" in skipping.sources[0].first_broken


def test_rows_that_the_chat_template_refuses_are_named_with_the_broken_ones_or_skipped(
    folder: Path, small_parts: None
) -> None:
    (folder / "no_tools.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('No tools!') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tool = {"role": "tool", "content": "42"}
    given = rows(400)
    for number in (121, 123, 301):
        given[number - 1]["messages"].insert(1, tool)
    given[122 - 1]["messages"][0]["role"] = "king"
    write_jsonl(folder / "train.jsonl", given)
    train = 'data.train=[{ path = "train.jsonl", template = "no_tools.jinja" }]'
    with pytest.raises(Refused) as refused:
        tokenized(recipe(folder, train, "data.workers=1"), folder / "out")
    *named, hint = refused.value.problems
    assert [problem.line for problem in named] == [121, 122, 123]
    assert "the chat template refuses the dialogue: No tools!" in named[0].reason
    assert 'set data.on_error = "skip"' in hint.reason
    skipping = tokenized(recipe(folder, train, 'data.on_error="skip"'), folder / "out")
    (counts,) = skipping.sources
    assert (counts.num_read, counts.num_broken) == (400, 4)
    assert "train.jsonl:121" in counts.first_broken


def test_no_more_rows_are_named_than_help(folder: Path) -> None:
    (folder / "never.jinja").write_text("{{ raise_exception('Never!') }}")
    train = 'data.train=[{ path = "train.jsonl", template = "never.jinja" }]'
    with pytest.raises(Refused) as refused:
        tokenized(recipe(folder, train, "data.workers=1"), folder / "out")
    assert len(refused.value.problems) == MAX_PROBLEMS + 1


def test_long_text_becomes_pieces_of_a_row_each(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": " ".join(WORDS * 40)}, {"text": "short"}])
    whole = tokenized(recipe(tmp_path, "data.sequence_length=100000"), tmp_path / "whole")
    pieces = tokenized(
        recipe(tmp_path, 'data.too_long="split"', "data.sequence_length=32"), tmp_path / "pieces"
    )
    ids = [
        np.concatenate(
            [np.asarray(row) for row in pq.read_table(t.files[0])["input_ids"].to_pylist()]
        )
        for t in (whole, pieces)
    ]
    np.testing.assert_array_equal(*ids)
    (counts,) = pieces.sources
    assert counts.num_read + counts.num_split == counts.num_used > 10
    assert max(map(len, pq.read_table(pieces.files[0])["input_ids"].to_pylist())) == 32


TOKENS = {"input_ids": [[5, 6, 7, 8, 9], [10, 11]], "labels": [[-100, 6, 7, -100, 9], [-100, 11]]}


BAD_TOKENS: list[tuple[dict[str, Any], str]] = [
    ({"input_ids": [1, 9999]}, "input_ids must hold numbers from 0 to 319, not 9999"),
    ({"input_ids": [1, -3]}, "input_ids must hold numbers from 0 to 319, not -3"),
    ({"input_ids": None}, "input_ids is null"),
    ({"input_ids": [1, None]}, "input_ids must hold whole numbers, not null"),
    ({"labels": [2, 3, 4, -100]}, "labels must be the token at its own place or -100"),
    ({"labels": [1]}, "labels has 1 numbers, and input_ids 4"),
    ({"cu_seqlens": [0, 2]}, "cu_seqlens must rise from 0 to the row's length, 4"),
    ({"cu_seqlens": [3]}, "cu_seqlens must rise from 0"),
]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(("changes", "said"), BAD_TOKENS)
def test_a_bad_row_among_token_ids_of_others_is_named_or_skipped_and_counted(
    changes: dict[str, Any], said: str, ending: str, tmp_path: Path
) -> None:
    good = {"input_ids": [1, 2, 3, 4], "labels": [-100, 2, -100, 4], "cu_seqlens": [0, 2, 4]}
    given = [good] * 1500 + [{**good, **changes}, good]
    table = token_table(**{name: [row[name] for row in given] for name in good})
    if ending == "parquet":
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=1200)
    else:
        with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
            writer.write_table(table)
    train = f'data.train=[{{ path = "t.{ending}", format = "tokens" }}]'
    with pytest.raises(Refused, match=said) as refused:
        tokenized(recipe(tmp_path, train), tmp_path / "out")
    problem, hint = refused.value.problems
    assert (Path(problem.file).name, problem.line) == (f"t.{ending}", 1501)
    assert "on_error" in hint.reason
    tokens = tokenized(recipe(tmp_path, train, 'data.on_error="skip"'), tmp_path / "out")
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_broken, counts.num_split) == (1502, 1, 1501)
    assert f"t.{ending}:1501" in counts.first_broken
    ids = pq.read_table(tokens.files[0])["input_ids"].to_pylist()
    assert ids == [[1, 2], [3, 4]] * 1501


def token_table(**columns: Any) -> pa.Table:
    lists = {name: pa.array(value, pa.list_(pa.int64())) for name, value in columns.items()}
    return pa.table(lists)


def test_token_ids_that_others_made_are_taken_as_they_are(tmp_path: Path) -> None:
    pq.write_table(
        token_table(ids=TOKENS["input_ids"], learn=TOKENS["labels"]), tmp_path / "t.parquet"
    )
    columns = '{ input_ids = "ids", labels = "learn" }'
    train = f'data.train=[{{ path = "t.parquet", format = "tokens", columns = {columns} }}]'
    found = pq.read_table(tokenized(recipe(tmp_path, train), tmp_path / "out").files[0])
    assert found["input_ids"].to_pylist() == TOKENS["input_ids"]
    assert found["labels"].to_pylist() == TOKENS["labels"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"other": [[1]]}, "the column is missing; there are other"),
        ({"input_ids": [["a"]]}, "the column must be lists of whole numbers, not list"),
    ],
)
def test_columns_that_cannot_be_token_ids_are_refused(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    with pytest.raises(Refused, match=said):
        tokenized(given, tmp_path / "out")


def test_packed_rows_of_others_become_their_samples_again(tmp_path: Path) -> None:
    packed = token_table(input_ids=[[5, 6, 7, 8, 9], [1, 2]], cu_seqlens=[[0, 2, 5], [0, 2]])
    pq.write_table(packed, tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    tokens = tokenized(given, tmp_path / "out")
    found = pq.read_table(tokens.files[0])
    assert found["input_ids"].to_pylist() == [[5, 6], [7, 8, 9], [1, 2]]
    assert found["labels"].to_pylist() == [[-100, 6], [-100, 8, 9], [-100, 2]]
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_split, counts.num_used) == (2, 1, 3)


@pytest.mark.parametrize("too_long", ["drop", "truncate", "split"])
def test_samples_without_a_token_are_counted_as_empty(too_long: str, tmp_path: Path) -> None:
    pq.write_table(token_table(input_ids=[[], [5] * 200, [], [6, 7], []]), tmp_path / "t.parquet")
    train = 'data.train=[{ path = "t.parquet", format = "tokens" }]'
    tokens = tokenized(recipe(tmp_path, train, f'data.too_long="{too_long}"'), tmp_path / "out")
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_empty, counts.num_fully_masked) == (5, 3, 0)
    ways = {"drop": (0, 1, 1), "truncate": (0, 2, 0), "split": (2, 4, 0)}
    assert (counts.num_split, counts.num_used, counts.num_too_long) == ways[too_long]


def test_preferences_keep_both_answers(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "train.jsonl",
        [{"prompt": f"question {i}", "chosen": "the better", "rejected": "no"} for i in range(9)],
    )
    found = pq.read_table(tokenized(recipe(tmp_path), tmp_path / "out").files[0])
    assert found.num_rows == 9
    better, worse = (found[name].to_pylist()[0] for name in ("input_ids", "rejected_input_ids"))
    assert better != worse
    learned = [t for t in found["rejected_labels"].to_pylist()[0] if t != -100]
    assert 0 < len(learned) < len(worse)


@pytest.mark.parametrize("longer", ["chosen", "rejected", "both"])
def test_a_preference_that_is_cut_counts_once(longer: str, tmp_path: Path) -> None:
    long = " ".join(WORDS * 9)
    texts = {side: long if longer in (side, "both") else "a" for side in ("chosen", "rejected")}
    texts["rejected"] = f"no, {texts['rejected']}"
    write_jsonl(tmp_path / "train.jsonl", [{"prompt": "q", **texts, "n": n} for n in range(3)])
    tokens = tokenized(recipe(tmp_path, 'data.too_long="truncate"'), tmp_path / "out")
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_used, counts.num_truncated) == (3, 3, 3)


def _loaded(folder: Path) -> Any:
    from tokenizers import Tokenizer

    definition = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())
    return Tokenizer.from_str(json.dumps(definition))


def test_labels_of_some_rows_are_not_lost(tmp_path: Path) -> None:
    ids = [5, 6, 7, 8]
    write_jsonl(
        tmp_path / "t.jsonl",
        [{"input_ids": ids}, {"input_ids": ids, "labels": [-100, -100, 7, 8]}, {"input_ids": ids}],
    )
    given = recipe(tmp_path, 'data.train=[{ path = "t.jsonl", format = "tokens" }]')
    found = pq.read_table(tokenized(given, tmp_path / "out").files[0])
    all_but_first = [-100, 6, 7, 8]
    assert found["labels"].to_pylist() == [all_but_first, [-100, -100, 7, 8], all_but_first]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": [5, "x"]}, "input_ids must hold whole numbers"),
        ({"input_ids": [10**30]}, "input_ids must hold numbers from 0"),
        ({"input_ids": [1, 2], "labels": [1]}, "labels has 1 numbers, and input_ids 2"),
        ([1, 2], "needs the field input_ids"),
    ],
)
def test_a_row_that_is_no_token_ids_is_named_with_its_line(
    row: Any, said: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "t.jsonl", [{"input_ids": [5, 6]}, row, {"input_ids": [7, 8]}])
    train = 'data.train=[{ path = "t.jsonl", format = "tokens" }]'
    with pytest.raises(Refused, match=said) as refused:
        tokenized(recipe(tmp_path, train), tmp_path / "out")
    assert refused.value.problems[0].line == 2
    skipping = tokenized(recipe(tmp_path, train, 'data.on_error="skip"'), tmp_path / "out")
    (counts,) = skipping.sources
    assert (counts.num_read, counts.num_used, counts.num_broken) == (3, 2, 1)


def test_a_column_that_the_recipe_names_and_nobody_wrote_is_told(tmp_path: Path) -> None:
    pq.write_table(token_table(input_ids=[[1, 2]], lab=[[-100, 2]]), tmp_path / "t.parquet")
    columns = '{ labels = "labx" }'
    train = f'data.train=[{{ path = "t.parquet", format = "tokens", columns = {columns} }}]'
    with pytest.raises(Refused, match="labx: the column is missing; there are input_ids, lab"):
        tokenized(recipe(tmp_path, train), tmp_path / "out")


def test_tokens_of_preferences_are_not_taken_for_plain_answers(tmp_path: Path) -> None:
    columns = {"input_ids": [[1, 2]], "rejected_input_ids": [[1, 3]]}
    pq.write_table(token_table(**columns), tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    with pytest.raises(Refused, match="which answers people liked"):
        tokenized(given, tmp_path / "out")


def nothing(*_: Any) -> None:
    """No progress is told."""


def test_a_folder_of_tokens_never_costs_an_input(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "train.jsonl").rename(folder / "in" / "train.jsonl")
    given = recipe(folder, 'data.train=[{ path = "in" }]')
    for out, said in (("in", "lies in the input"), ("in/tokens", "lies in the input")):
        with pytest.raises(Refused, match=said):
            write_token_folder(given, folder / out, overwrite=True, on_progress=nothing)
    with pytest.raises(Refused, match="holds the input"):
        write_token_folder(given, folder, overwrite=True, on_progress=nothing)
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(Refused, match="was not written by fsft"):
        write_token_folder(given, folder / "mine", overwrite=True, on_progress=nothing)
    assert (folder / "in" / "train.jsonl").exists()


def test_folders_with_like_names_are_left_alone(folder: Path) -> None:
    for name in (".out-precious", ".out-1-0123456789abcdef", ".out-0123456789abcdef"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("x")
    (folder / ".out-file").write_text("x")
    write_token_folder(recipe(folder), folder / "out", overwrite=False, on_progress=nothing)
    assert (folder / ".out-precious" / "file").exists()
    assert (folder / ".out-1-0123456789abcdef" / "file").exists()
    assert (folder / ".out-0123456789abcdef" / "file").exists()
    assert (folder / ".out-file").exists()


def test_two_processes_do_not_write_the_same_folder(folder: Path) -> None:
    from fsft.runtime.run_directory import resumed_folder

    with (
        resumed_folder(folder / "out", "ab" * 8),
        pytest.raises(Refused, match="is being written by another process"),
        resumed_folder(folder / "out", "ab" * 8),
    ):
        raise AssertionError("two hold the same folder")

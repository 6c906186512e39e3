"""Raw files to token ids: the same whoever does it, gone on with after a kill, nothing lost."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsft.recipes.problems import Refused, RunFailed
from fsft.recipes.schema import Recipe
from fsft.runtime.data import engines, local_engine, tokenize
from fsft.runtime.data.engines import Reference, TokenIds
from fsft.runtime.data.samples import MAX_PROBLEMS
from fsft.runtime.data.store import read_batches
from tests.runtime.data.tokenized import WORDS, contents, recipe, rows, tokenized, tokenizer_folder
from tests.support import dialogue, write_jsonl

SHAPES = ("alpaca", "messages", "preference", "kto", "turns", "text")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some hundred rows, so that there is something to share out."""
    monkeypatch.setattr(tokenize, "PART_BYTES", 20_000)


def mixture(folder: Path, *overrides: str) -> Recipe:
    """A recipe of files of several shapes, with templates of their own, written to `folder`."""
    told = [[turn["content"] for turn in row["messages"]] for row in rows(300)]
    shapes = {
        "alpaca.json": [{"instruction": q, "input": "", "output": a} for q, a in told],
        "chats.jsonl": [dialogue(q, a) for q, a in told],
        "liked.jsonl": [{"prompt": q, "chosen": a or "b", "rejected": "a"} for q, a in told],
        "rated.jsonl": [{"prompt": q, "completion": a, "label": len(a) > 9} for q, a in told],
        "turns.jsonl": [
            {"conversation": [{"user": q}, {"assistant": a}], "category": len(a)} for q, a in told
        ],
        "text.jsonl": [{"text": f"{q} {a}"} for q, a in told],
    }
    for name, values in shapes.items():
        write_jsonl(folder / name, values)
    (folder / "alpaca.json").write_text(json.dumps(shapes["alpaca.json"]))
    templates = {"alpaca.json": "alpaca", "chats.jsonl": "baichuan2"}
    sources = ", ".join(
        f'{{ path = "{name}", template = "{templates.get(name, "chatml")}" }}' for name in shapes
    )
    return recipe(folder, f"data.train=[{sources}]", 'data.too_long="split"', *overrides)


def test_any_number_of_workers_makes_the_same_files(folder: Path, small_parts: None) -> None:
    one = tokenized(mixture(folder, "data.workers=1"), folder / "one")
    two = tokenized(mixture(folder, "data.workers=2"), folder / "two")
    assert len(one.files) > 6
    assert {counts.format for counts in one.sources} == set(SHAPES)
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

    local = tokenized(mixture(folder), folder / "local")
    with spark_cluster(folder, num_workers=2) as master:
        settings = ('data.engine="spark"', f'data.spark_master="{master}"')
        spark = tokenized(mixture(folder, *settings), folder / "spark")
    assert len(local.files) > 6
    assert contents(local) == contents(spark)
    assert local.parts == spark.parts


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

"""Reading data files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsft.recipes.problems import Refused
from fsft.runtime.data.rows import read_rows
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes import detect_format, to_sample

ROWS = [{"prompt": "one", "answer": "1"}, {"prompt": "二", "answer": "2"}]


def test_json_jsonl_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    json_file = tmp_path / "rows.json"
    json_file.write_text(json.dumps(ROWS), encoding="utf-8")
    jsonl_file = tmp_path / "rows.jsonl"
    jsonl_file.write_text("\n\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    parquet_file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), parquet_file)
    for file in (json_file, jsonl_file, parquet_file):
        assert [row.value for row in read_rows(file)] == ROWS


def test_a_broken_line_is_told_by_its_line_number_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"a": 1}\n\n{"a": \n\xff\xfe\n{"a": 2}\n')
    rows = list(read_rows(file))
    assert [row.line for row in rows] == [1, 3, 4, 5]
    assert [row.value for row in rows if not row.error] == [{"a": 1}, {"a": 2}]
    assert "not valid JSON" in rows[1].error
    assert "UTF-8" in rows[2].error


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.json", b'{"a": 1}', "one list of rows"),
        ("rows.json", b"[1,\n2,,]", "not valid JSON"),
        ("rows.json", b"\xff\xfe", "cannot be read"),
        ("rows.parquet", b"nothing like parquet", "not valid parquet"),
        ("rows.xlsx", b"", "not a known kind"),
    ],
)
def test_a_file_that_is_no_data_file_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(Refused, match=said):
        list(read_rows(file))


@pytest.mark.parametrize(
    ("row", "data_format", "turns"),
    [
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]},
            "messages",
            [("system", "s"), ("user", "q")],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]},
            "messages",
            [("user", "q")],
        ),
        (
            {"instruction": "do", "input": "this", "output": "done"},
            "alpaca",
            [("user", "do\nthis"), ("assistant", "done")],
        ),
        (
            {"instruction": "do", "output": "done", "system": "s"},
            "alpaca",
            [("system", "s"), ("user", "do"), ("assistant", "done")],
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            "sharegpt",
            [("user", "q"), ("assistant", "a")],
        ),
        ({"prompt": "q", "answer": "a"}, "prompt_answer", [("user", "q"), ("assistant", "a")]),
    ],
)
def test_each_shape_is_detected_and_read_as_a_dialogue(
    row: dict[str, object], data_format: str, turns: list[tuple[str, str]]
) -> None:
    found = detect_format(row)
    assert found == data_format
    sample = to_sample(row, found)
    assert [(turn["role"], turn["content"]) for turn in sample.messages] == turns


@pytest.mark.parametrize("extra", ["chosen", "rejected", "videos"])
def test_half_a_preference_and_films_are_not_taken_for_plain_dialogues(extra: str) -> None:
    assert detect_format({"messages": [], extra: []}) is None


def test_plain_text_is_read_as_text() -> None:
    assert detect_format({"text": "once"}) == "text"
    assert to_sample({"text": "once"}, "text") == Sample(text="once")

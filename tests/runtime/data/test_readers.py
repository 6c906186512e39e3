"""Each kind of data file: its rows, and what is said of broken ones."""

import gzip
import json
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.problems import Refused
from fsft.runtime.data import json_rows, lines, streams, text_rows
from fsft.runtime.data.files import DataFile, local_file
from fsft.runtime.data.parts import Part, read_part
from fsft.runtime.data.row import Row
from fsft.runtime.data.row_sample import sample_rows
from fsft.runtime.data.rows import read_rows
from tests.runtime.data.data_files import COMPRESSED, NAMES, ROWS, TEXTS, errors, values, write_rows

KINDS = ["json", "jsonl", "csv", "tsv", "txt", "m2", "parquet", "arrow"]


def written(folder: Path, name: str, content: bytes) -> DataFile:
    path = folder / name
    path.write_bytes(content)
    return local_file(path)


@pytest.mark.parametrize("name", [*NAMES, *COMPRESSED])
def test_each_kind_gives_back_the_rows_that_were_written(tmp_path: Path, name: str) -> None:
    key = "m2" if ".m2" in name else "text"
    assert values(write_rows(tmp_path / name)) == [{key: text} for text in TEXTS]


@pytest.mark.parametrize("folder", ["with a space", "数据", "a%20b#c?d"])
def test_any_path_will_do(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    for name in NAMES[:4] + NAMES[-3:]:
        assert values(write_rows(tmp_path / folder / name)) == ROWS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.m2"])
@pytest.mark.parametrize("change", ["crlf", "no newline at the end", "byte order mark"])
def test_newlines_of_any_kind_and_marks_are_no_content(
    tmp_path: Path, name: str, change: str
) -> None:
    texts = ["one", "two", "three"]
    path = write_rows(tmp_path / name, texts)
    data = path.read_bytes()
    if change == "crlf":
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + data if "mark" in change else data.rstrip())
    key = "m2" if name == "a.m2" else "text"
    assert values(path) == [{key: text} for text in texts]


def test_json_may_be_lines_as_spark_writes_them(tmp_path: Path) -> None:
    file = written(tmp_path, "part-0.json", b'{"a": 1}\n{"a": \n{"a": 3}\n')
    assert [row.value for row in read_part(Part((file,)))] == [{"a": 1}, None, {"a": 3}]
    assert [line for line, _ in errors(file)] == [2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": ', "not valid JSON: Expecting value at column"),
        (b'{"a": 1} {"a": 2}', "not valid JSON: Extra data at column 10"),
        (b"\xff\xfe", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "it holds NUL bytes"),
        (b'{"a": "x\0y"}', "it holds NUL bytes"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "b": 2, "a": 3}', "has the key 'a' twice"),
        (b'[{"b": {"x": 1, "x": 1}}]', "has the key 'x' twice"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "a number of 5001 digits"),
        (rb'{"a": "\ud83d"}', "half of a character"),
    ],
)
def test_a_broken_line_is_told_and_the_others_are_read(
    tmp_path: Path, line: bytes, said: str
) -> None:
    file = written(tmp_path, "rows.jsonl", b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n')
    rows = list(read_part(Part((file,))))
    assert [row.line for row in rows] == [1, 3, 4]
    assert [row.value for row in rows if not row.error] == [{"a": 1}, {"a": 2}]
    assert said in rows[1].error
    assert str(rows[1].problem()).startswith(f"{tmp_path}/rows.jsonl:3: ")


def test_numbers_that_only_python_knows_and_whole_characters_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, "a.jsonl", rb'{"a": [NaN, 1e999, -Infinity, 12345678901234567890]}')
    (row,) = read_part(Part((file,)))
    assert repr(row.value) == "{'a': [nan, inf, -inf, 12345678901234567890]}"
    file = written(tmp_path, "a.jsonl", rb'{"a": "\ud83d\ude00 \\ud83d"}')
    assert values(Path(file.path)) == [{"a": "😀 \\ud83d"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1,\n2,,]", (3, "is not valid JSON: Expecting value at line 2")),
        (b'[1,\n{"a": 2 "b"}, 3]', (2, "is not valid JSON: Expecting ',' delimiter at line 2")),
        (b"[1, 2", (3, "is not valid JSON: line 1 needs a comma")),
        (b"[1\n2]", (2, "is not valid JSON: line 2 needs a comma")),
        (b"[1]\n[2]", (0, "is not valid JSON: something follows the list at line 2")),
        (b'["a", "b', (2, "is not valid JSON: Unterminated string starting at at line 1")),
        (b"[1, " + b"[" * 100_000, (2, "is nested too deeply")),
        (b'{\n  "data": []\n}', (0, json_rows.NO_LIST)),
        (b"7", (0, json_rows.NO_LIST)),
        (b" \n ", (0, json_rows.NO_LIST)),
        (b"\xff\xfe[", (0, "is not UTF-8 text, after line 1")),
        (b'[{"a": 1, "a": 2}, 3]', (1, "has the key 'a' twice")),
    ],
)
def test_what_is_wrong_with_a_list_is_told_by_row_and_line(
    tmp_path: Path, content: bytes, said: tuple[int, str]
) -> None:
    assert errors(written(tmp_path, "rows.json", content)) == [said]


def test_a_list_is_read_the_same_whatever_the_size_of_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Any] = [123456, "ab\\u00e9\\n", {"k": [1.5e3, None]}, "", [], -0.5, True]
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    file = written(tmp_path, "rows.json", text.encode())
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(json_rows, "_CHUNK", size)
        assert values(Path(file.path)) == rows


def test_a_large_broken_list_ends_where_it_breaks(tmp_path: Path) -> None:
    content = b'[{"a": 1 "b"},' + b'{"a": 1},\n' * 10_000 + b"2]"
    tracemalloc.start()
    ((number, said),) = errors(written(tmp_path, "rows.json", content * 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (number, said) == (1, "is not valid JSON: Expecting ',' delimiter at line 1")
    assert peak < 10 * 1024**2


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt", "json"])
def test_a_line_beyond_the_limit_is_passed_over_without_being_held(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"long.{ending}"
    first, last = {
        "jsonl": (b'{"a": 1}\n', b'{"a": 2}\n'),
        "csv": (b"text\n1\n", b"2\n"),
        "txt": (b"1\n\n", b"\n2\n"),
        "json": (b'["', b'", 2]'),
    }[ending]
    with path.open("wb") as file:
        file.write(first)
        for _ in range(100):
            file.write(b"x" * 1024**2)
        file.write(b"\n" + last)
    rows = list(read_rows(path))
    told = [(row.line, row.error) for row in rows if row.error]
    line = {"jsonl": 2, "csv": 3, "txt": 3, "json": 1}[ending]
    assert told == [(line, lines.TOO_LONG)]
    if ending != "json":
        assert len(rows) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n3\n", [(3, "has 1 fields where the first line names 2")]),
        (b'a\n"x"y\n2\n', [(2, "is not valid csv: ',' expected after '\"'")]),
        (b'a\n1\n"x\n2\n', [(3, "is not valid csv: unexpected end of data")]),
        (b"a\n\xff\n2\n", [(2, text_rows.NOT_UTF8)]),
        (b"a\nx\0\n2\n", [(2, text_rows.HOLDS_NUL)]),
        (b"a,b,a\n", [(1, "the line that names the fields names the field 'a' twice")]),
        (b"\n\xff\n", [(2, "the line that names the fields is not UTF-8 text")]),
        (b'a\n"1\n2"\n\n3,4\n', [(5, "has 2 fields where the first line names 1")]),
    ],
)
def test_a_broken_row_of_csv_is_told_by_the_line_where_it_begins(
    tmp_path: Path, content: bytes, said: list[tuple[int, str]]
) -> None:
    assert errors(written(tmp_path, "rows.csv", content)) == said


def test_csv_reads_on_after_a_broken_row(tmp_path: Path) -> None:
    file = written(tmp_path, "rows.csv", b'a\n1\n"x"y\n\xff\n5\n')
    assert [row.value for row in read_part(Part((file,))) if not row.error] == [
        {"a": "1"},
        {"a": "5"},
    ]


def test_a_broken_block_of_text_is_told_by_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "a.txt", b"one\n\ntwo\nth\xffree\n\n\n\nfour\n\0\n\nfive")
    assert errors(file) == [(4, text_rows.NOT_UTF8), (9, text_rows.HOLDS_NUL)]
    rows = [(row.line, row.value) for row in read_part(Part((file,))) if not row.error]
    assert rows == [(1, {"text": "one"}), (11, {"text": "five"})]


@pytest.mark.parametrize("ending", ["gz", "zst", "bz2", "xz"])
def test_of_a_truncated_file_all_before_the_end_is_read(tmp_path: Path, ending: str) -> None:
    texts = [random.Random(index).randbytes(50).hex() for index in range(20_000)]
    path = write_rows(tmp_path / f"rows.jsonl.{ending}", texts)
    path.write_bytes(path.read_bytes()[:-1000])
    rows = list(read_rows(path))
    assert [row.value for row in rows[:-1]] == [{"text": text} for text in texts[: len(rows) - 1]]
    assert len(rows) > 10_000 or ending == "bz2"
    assert "data is broken" in rows[-1].error
    assert rows[-1].line == 0


def test_of_a_small_truncated_file_what_is_whole_is_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl.gz", [f"row {n} {n * n}" for n in range(20_000)])
    path.write_bytes(path.read_bytes()[:-1000])
    *rows, last = read_rows(path)
    assert len(rows) > 1000
    assert not any(row.error for row in rows)
    assert "data is broken" in last.error


@pytest.mark.parametrize("ending", ["gz", "zst", "bz2", "xz"])
def test_what_is_not_compressed_is_told(tmp_path: Path, ending: str) -> None:
    for content in (b"", b'{"a": 1}\n' * 100):
        path = tmp_path / f"rows.jsonl.{ending}"
        path.write_bytes(content)
        (row,) = read_rows(path)
        assert row.error
        assert row.line == 0


@pytest.mark.parametrize("ending", ["gz", "zst", "bz2"])
def test_a_bomb_is_refused_by_name(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BOMB_RATIO", 100)
    monkeypatch.setattr(streams, "BOMB_FLOOR", 4 * 1024**2)
    fits = write_rows(tmp_path / f"fits.jsonl.{ending}", ["x" * 1000] * 1000)
    assert len(values(fits)) == 1000
    bomb = write_rows(tmp_path / f"bomb.jsonl.{ending}", ["x" * 1000] * 100_000)
    with pytest.raises(Refused, match=rf"bomb.jsonl.{ending}: expands to more than 100 times"):
        list(read_rows(bomb))


def test_several_compressed_pieces_in_a_row_are_one_file(tmp_path: Path) -> None:
    piece = gzip.compress(b'{"a": 1}\n')
    file = written(tmp_path, "a.jsonl.gz", piece * 3)
    assert len(values(Path(file.path))) == 3


def test_broken_tables_are_told(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.arrow"):
        for content in (b"", b"nothing like it", b"ARROW1 or so", b"PAR1xxxxPAR1"):
            path = tmp_path / name
            path.write_bytes(content)
            (row,) = read_rows(path)
            assert row.error
            assert row.line == 0
    path = write_rows(tmp_path / "b.parquet", ["x" * 1000] * 1000)
    path.write_bytes(path.read_bytes()[:-200])
    assert "is not valid parquet" in list(read_rows(path))[-1].error


def test_a_column_that_is_there_twice_is_told(tmp_path: Path) -> None:
    table = pa.table([[1], [2]], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert errors(local_file(tmp_path / "a.parquet")) == [(0, "has the column 'a' twice")]


def test_a_value_that_python_cannot_hold_breaks_its_row_alone(tmp_path: Path) -> None:
    text = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary()).cast(pa.string(), safe=False)
    table = pa.table({"text": text})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for path in tmp_path.iterdir():
        rows = list(read_rows(path))
        assert [row.value for row in rows] == [{"text": "good"}, None, {"text": "fine"}]
        assert errors(local_file(path)) == [(2, "is not UTF-8 text")]


def test_nulls_and_nested_columns_are_python_values(tmp_path: Path) -> None:
    rows = [{"a": None, "m": [{"role": "user", "content": "x"}]}, {"a": 1, "m": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_what_is_appended_while_a_file_is_read_is_not_read(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name, ["one", "two"])
    file = local_file(path)
    rows = read_part(Part((file,)))
    next(rows)
    before = path.read_bytes()
    path.write_bytes(before + before)
    assert len(list(rows)) == 1
    half = local_file(path)
    path.write_bytes(before + before.replace(b"\n", b"\n\n"))
    assert errors(half) == []


def test_a_half_written_line_is_broken_until_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": ')
    file = local_file(path)
    assert [line for line, _ in errors(file)] == [2]
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    assert list(read_part(Part((file,)))) == [Row(str(path), 1, {"a": 1})]


BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b'{"a":', b"1", b"}", b"[", b"]", b",", b'"', b"\n", b"\r", b"\xff", b"\0"]
        )
    ).map(b"".join),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60).map(lambda data: b"ARROW1\0\0" + data),
    st.binary(max_size=60).map(lambda data: b"PAR1" + data + b"PAR1"),
    st.binary(max_size=60).map(gzip.compress),
)


@given(BYTES, st.sampled_from(KINDS), st.sampled_from(["", ".gz", ".zst", ".bz2", ".xz"]))
def test_any_bytes_are_rows_or_named_problems(data: bytes, kind: str, compression: str) -> None:
    path = Path(os.environ["PYTEST_FUZZ"]) / f"a.{kind}"
    if kind not in ("parquet", "arrow"):
        path = path.with_name(path.name + compression)
    path.write_bytes(data)
    for row in read_part(Part((local_file(path),))):
        assert row.file == str(path)
        assert row.error == "" or row.value is None or kind in ("json", "jsonl")
        assert not row.error.endswith(".")
        assert row.line >= 0
    assert len(sample_rows([local_file(path)], 5).rows) <= 5


@given(st.data())
def test_a_table_with_changed_bytes_is_rows_or_named_problems(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["rows.parquet", "file.arrow", "stream.arrow"]))
    path = write_rows(Path(os.environ["PYTEST_FUZZ"]) / name)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for row in read_part(Part((local_file(path),))):
        assert row.error or isinstance(row.value, dict)
    assert len(sample_rows([local_file(path)], 5).rows) <= 5


@pytest.fixture(autouse=True)
def _fuzz_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_FUZZ", str(tmp_path))

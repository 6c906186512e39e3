"""Parts of files hold every row once, wherever they are cut."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsft.runtime.data.files import local_file
from fsft.runtime.data.parts import (
    Part,
    lines_before,
    read_part,
    split_into_parts,
)
from tests.runtime.data.data_files import NAMES, ROWS, write_rows

LINES = st.lists(
    st.sampled_from(
        [b'{"a": 1}', b'{"text": "\xe4\xba\x8c"}', b"", b"  ", b"{broken", b"\xff", b"[]"]
    ),
    max_size=30,
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@same_folder
@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(1, 80))
def test_ranges_of_lines_are_the_whole_file_with_its_line_numbers(
    tmp_path: Path, lines: list[bytes], newline: bytes, is_ended: bool, target: int
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(newline.join(lines) + (newline if is_ended else b""))
    if not path.stat().st_size:
        return
    file = local_file(path)
    whole = list(read_part(Part((file,))))
    parts = split_into_parts([file], target_bytes=target)
    together = [
        row._replace(line=row.line + lines_before(part))
        for part in parts
        for row in read_part(part)
    ]
    assert together == whole
    assert len(parts) == max(1, -(-file.size // target))


@same_folder
@given(st.integers(1, 5000), st.integers(1, 40), st.integers(1, 12))
def test_ranges_of_row_groups_are_the_whole_file(
    tmp_path: Path, target: int, num_rows: int, group: int
) -> None:
    path = tmp_path / "rows.parquet"
    rows: list[dict[str, Any]] = [{"text": str(index) * 20} for index in range(num_rows)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    parts = split_into_parts([local_file(path)], target_bytes=target)
    together = [row for part in parts for row in read_part(part)]
    assert [row.value for row in together] == rows
    assert [row.line for row in together] == list(range(1, num_rows + 1))


@same_folder
@given(
    st.lists(st.sampled_from([*NAMES, "a.csv.gz", "a.json.zst"]), max_size=8),
    st.integers(1, 3000),
    st.none() | st.integers(1, 40),
)
def test_parts_of_many_files_are_all_their_rows_in_order(
    tmp_path: Path, names: list[str], target: int, limit: int | None
) -> None:
    files = []
    for index, name in enumerate(names):
        (tmp_path / str(index)).mkdir(exist_ok=True)
        files.append(local_file(write_rows(tmp_path / str(index) / name)))
    parts = split_into_parts(files, target_bytes=target, limit=limit)
    together = [row for part in parts for row in read_part(part)]
    whole = [row for file in files for row in read_part(Part((file,)))]
    assert [row.value for row in together] == [row.value for row in whole[:limit]]
    assert [row.file for row in together] == [row.file for row in whole[:limit]]
    assert all(len(part.files) == 1 or limit or total(part) <= target for part in parts)
    assert pickle.loads(pickle.dumps(parts)) == parts


def total(part: Part) -> int:
    return sum(file.size for file in part.files)


def test_small_files_are_read_together(tmp_path: Path) -> None:
    files = [local_file(write_rows(tmp_path / f"{index}.jsonl")) for index in range(10)]
    size = files[0].size
    parts = split_into_parts(files, target_bytes=4 * size)
    assert [len(part.files) for part in parts] == [4, 4, 2]


def test_a_limit_is_one_part_that_reads_no_further(tmp_path: Path) -> None:
    first = local_file(write_rows(tmp_path / "a.jsonl"))
    second = local_file(write_rows(tmp_path / "b.jsonl"))
    (tmp_path / "b.jsonl").unlink()
    (part,) = split_into_parts([first, second], target_bytes=1, limit=4)
    assert [row.value for row in read_part(part)] == ROWS


def test_broken_parquet_is_one_part_whose_reader_tells(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"x" * 1000)
    (part,) = split_into_parts([local_file(tmp_path / "a.parquet")], target_bytes=10)
    (row,) = read_part(part)
    assert "is not valid parquet" in str(row.problem())


def test_a_problem_of_a_range_names_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 999 + b"{broken\n")
    *_, last = split_into_parts([local_file(path)], target_bytes=900)
    *_, row = read_part(last)
    assert row.line < 200
    assert str(row.problem(lines_before=lines_before(last))).startswith(
        f"{path}:1000: is not valid JSON"
    )
    assert str(row.problem("is too short", lines_before(last))) == f"{path}:1000: is too short."


MEASURE = """
import sys
from fsft.runtime.data.parts import read_part, split_into_parts
from fsft.runtime.data.files import find_files
from fsft.recipes.schema import Source
import pyarrow.parquet

# Not getrusage: it also knows of the process that started this one.
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

before = peak()
files = find_files(Source(path=sys.argv[1]))
number = sum(1 for part in split_into_parts(files) for row in read_part(part))
print(number, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.csv", "a.parquet"]
)
def test_memory_stays_small_whatever_the_size(tmp_path: Path, name: str) -> None:
    text = "".join(f"word {index} " for index in range(300))
    number = 300 * 1024**2 // len(text)
    path = tmp_path / name
    if name == "a.parquet":
        table = pa.Table.from_pylist([{"text": f"{index} {text}"} for index in range(1000)])
        with pq.ParquetWriter(path, table.schema, use_dictionary=False) as writer:
            big = pa.concat_tables([table] * (number // 1000 + 1))
            writer.write_table(big, row_group_size=len(big))
    elif name.startswith("a.jsonl"):
        plain = tmp_path / "plain.jsonl"
        with plain.open("w") as file:
            # Else it would be packed as densely as only a bomb is.
            noise = random.Random(0)
            file.writelines(
                f'{{"text": "{noise.randbytes(20).hex()} {text}"}}\n' for _ in range(number)
            )
        if name == "a.jsonl":
            plain.rename(path)
        else:
            kind = "gzip" if name.endswith("gz") else "zstd"
            with plain.open("rb") as file, pa.CompressedOutputStream(str(path), kind) as out:
                while data := file.read(1024**2):
                    out.write(data)
    else:
        start, between, end = ("[", ",\n", "]") if name == "a.json" else ("text\n", "\n", "")
        with path.open("w") as file:
            file.write(start)
            file.writelines(f'"{index} {text}"{between}' for index in range(number))
            file.write(f'"end"{end}')
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    rows, kilobytes = map(int, done.stdout.split())
    assert rows >= number
    assert kilobytes < 100 * 1024

"""Which files a source names."""

import os
from pathlib import Path

import pytest

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source
from fsft.runtime.data.files import find_files
from fsft.runtime.data.parts import Part, read_part
from tests.runtime.data.data_files import write_rows


def found(folder: Path, path: str = ".") -> list[str]:
    """Names of the files, from `folder` on."""
    files = find_files(Source(path=str(folder / path)))
    return [os.path.relpath(file.path, folder) for file in files]


def test_a_folder_is_all_its_data_files_sorted_by_name(tmp_path: Path) -> None:
    names = [
        "b/part-1.parquet",
        "b/part-0.parquet",
        "a.jsonl.gz",
        "b.csv",
        "c=1/数据.json",
        "d.txt",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_rows(tmp_path / name)
    (tmp_path / "plain").unlink()
    for name in ("_SUCCESS", ".part.crc", "README.md", "_temporary.jsonl", "b/.hidden.json"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    write_rows(tmp_path / ".git" / "rows.jsonl")
    assert found(tmp_path) == [
        *("a.jsonl.gz", "b/part-0.parquet", "b/part-1.parquet", "b.csv", "c=1/数据.json", "d.txt"),
    ]
    assert len(list(read_part(Part(tuple(find_files(Source(path=str(tmp_path)))))))) == 24


def test_a_folder_may_be_called_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").mkdir()
    write_rows(tmp_path / "rows.parquet" / "part-0.parquet")
    assert found(tmp_path, "rows.parquet") == ["rows.parquet/part-0.parquet"]
    assert found(tmp_path) == ["rows.parquet/part-0.parquet"]


def test_links_are_followed_and_those_in_a_circle_are_harmless(tmp_path: Path) -> None:
    far = tmp_path / "far"
    data = tmp_path / "data"
    for folder in (far, data):
        folder.mkdir()
    write_rows(far / "far.jsonl")
    write_rows(data / "near.jsonl")
    (data / "linked").symlink_to(far)
    (data / "self").symlink_to(data)
    (far / "back").symlink_to(data)
    (data / "z.jsonl").symlink_to(far / "far.jsonl")
    assert found(tmp_path, "data") == ["data/linked/far.jsonl", "data/near.jsonl", "data/z.jsonl"]


@pytest.mark.parametrize("target", ["nowhere", "a.jsonl"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / target)
    with pytest.raises(Refused, match=r"a\.jsonl: (there is no such file|cannot be read)"):
        found(tmp_path)


def test_empty_text_files_of_a_folder_are_passed_over_as_spark_writes_them(tmp_path: Path) -> None:
    (tmp_path / "part-0.json").write_text("")
    write_rows(tmp_path / "part-1.json")
    assert found(tmp_path) == ["part-1.json"]
    (tmp_path / "part-1.json").write_text("")
    with pytest.raises(Refused, match="the folder holds no data file"):
        found(tmp_path)
    with pytest.raises(Refused, match="the file is empty"):
        found(tmp_path, "part-0.json")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.jsonl", "there is no such file"),
        ("table.xlsx", "`.xlsx` is not a known kind of data file"),
        ("pipe.jsonl", "is no regular file"),
        ("x" * 300 + ".jsonl", "cannot be read: File name too long"),
    ],
)
def test_what_is_no_data_file_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "table.xlsx").write_text("x")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(Refused, match=said):
        found(tmp_path, name)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl")).write_text("{}")
    with pytest.raises(Refused, match="not UTF-8"):
        found(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(Refused, match="locked: cannot be read: Permission denied"):
        found(tmp_path)

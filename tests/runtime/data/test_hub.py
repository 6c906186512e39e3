"""Data sets of the hub, and those that `datasets` saved."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source
from fsft.runtime.data.files import DataFile, find_files
from fsft.runtime.data.parts import Part, read_part, split_into_parts
from fsft.runtime.data.row_sample import sample_rows
from tests.runtime.data.data_files import ROWS
from tests.support import fsft_environment


def read(files: list[DataFile], **how: int) -> list[Any]:
    """The values of all rows, in parts."""
    return [row.value for part in split_into_parts(files, **how) for row in read_part(part)]


def test_a_set_saved_to_disk_is_read_in_ranges(tmp_path: Path) -> None:
    rows = [{"text": str(index) * 10} for index in range(3000)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "set", num_shards=3)
    files = find_files(Source(path=str(tmp_path / "set")))
    assert [(file.kind, file.path) for file in files] == [("saved", str(tmp_path / "set"))]
    assert read(files) == rows
    assert read(files, target_bytes=10_000) == rows
    assert len(split_into_parts(files, target_bytes=10_000)) > 5
    assert read(files, limit=7) == rows[:7]
    *_, last = split_into_parts(files, target_bytes=10_000)
    assert list(read_part(last))[-1].line == 3000


def test_a_saved_set_with_splits_is_read_by_split(tmp_path: Path) -> None:
    splits = {
        "train": datasets.Dataset.from_list(ROWS),
        "few": datasets.Dataset.from_list(ROWS[:1]),
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    (tmp_path / "more.jsonl").write_text('{"text": "more"}')
    assert read(find_files(Source(path=str(tmp_path / "set")))) == ROWS
    assert read(find_files(Source(path=str(tmp_path / "set"), split="few"))) == ROWS[:1]
    assert read(find_files(Source(path=str(tmp_path)))) == [{"text": "more"}, *ROWS]
    with pytest.raises(Refused, match=r'has no split .test.\. For example: split = "train" or'):
        read(find_files(Source(path=str(tmp_path / "set"), split="test")))


def test_rows_of_a_saved_set_come_from_all_over_it(tmp_path: Path) -> None:
    rows = [{"text": str(index)} for index in range(1000)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "set")
    sample = sample_rows(find_files(Source(path=str(tmp_path / "set"))), 100)
    assert {int(row.value["text"]) // 100 for row in sample.rows} == set(range(10))
    assert (len(sample.rows), sample.num_rows) == (100, 1000)


def test_images_of_a_set_stay_encoded(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (2, 2))
    data = io.BytesIO()
    image.save(data, format="PNG")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": [{"bytes": data.getvalue(), "path": "a.png"}], "text": ["x"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    (row,) = read(find_files(Source(path=str(tmp_path / "set"))))
    assert row == {"image": {"bytes": data.getvalue(), "path": "a.png"}, "text": "x"}


def test_a_broken_saved_set_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "set")
    (tmp_path / "set" / "state.json").write_text("{}")
    with pytest.raises(Refused, match="set: the data set cannot be loaded"):
        read(find_files(Source(path=str(tmp_path / "set"))))


def test_the_cache_of_datasets_is_read_as_arrow(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    datasets.Dataset.from_list(ROWS).to_json(rows)
    datasets.load_dataset("json", data_files=str(rows), cache_dir=str(tmp_path / "cache"))
    (cached,) = (tmp_path / "cache").rglob("*.arrow")
    assert read(find_files(Source(path=str(cached)))) == ROWS


@pytest.mark.parametrize("limit", [None, 2])
def test_a_set_of_the_hub_is_read_at_its_commit_and_only_as_far_as_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    rows = tmp_path / "rows.jsonl"
    datasets.Dataset.from_list(ROWS).to_json(rows)
    load, asked = datasets.load_dataset, []

    def load_here(name: str, subset: str | None, **how: Any) -> Any:
        asked.append((name, subset, how["split"], how.pop("revision"), how["streaming"]))
        return load("json", data_files=str(rows), cache_dir=str(tmp_path / "cache"), **how)

    monkeypatch.setattr(datasets, "load_dataset", load_here)
    file = DataFile("hub:owner/name@v1", "hub", version="c0ffee", subset="en", split="train")
    assert read([file], limit=limit) == ROWS[:limit]  # type: ignore[arg-type]
    assert set(asked) == {("owner/name", "en", "train", "c0ffee", limit is not None)}


FIND = """
import sys
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source
from fsft.runtime.data.files import find_files
try:
    print(find_files(Source(path=sys.argv[1]))[0].version)
except Refused as error:
    print(error)
"""


def found(tmp_path: Path, path: str = "hub:owner/name") -> str:
    """What is found of a set of the hub without a network."""
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FIND, path],
        env=fsft_environment(environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_without_a_network_the_hub_is_refused_unless_the_set_is_in_the_cache(
    tmp_path: Path,
) -> None:
    said = found(tmp_path)
    assert said.startswith("hub:owner/name: the data set cannot be loaded: ")
    assert "save_to_disk(FOLDER) and name the folder" in said
    refs = tmp_path / "hub" / "datasets--owner--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("c0ffee\n")
    (refs / "v1").write_text("cafe")
    assert found(tmp_path) == "c0ffee\n"
    assert found(tmp_path, "hub:owner/name@v1") == "cafe\n"


def test_a_commit_of_the_hub_is_taken_as_it_is(tmp_path: Path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    assert found(tmp_path, f"hub:owner/name@{commit}") == f"{commit}\n"


def test_a_revision_of_the_hub_is_looked_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tell(_: object, name: str, *, revision: str | None, **__: object) -> SimpleNamespace:
        asked.append((name, revision))
        return SimpleNamespace(sha="c0ffee")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", tell)
    for path in ("hub:owner/name@v1", "hub:owner/name"):
        (file,) = find_files(Source(path=path))
        assert file.version == "c0ffee"
    assert asked == [("owner/name", "v1"), ("owner/name", None)]


def test_a_part_of_the_hub_is_refused_when_the_set_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    file = DataFile("hub:owner/name", "hub", split="train")
    for part in (Part((file,)), Part((file,), limit=1)):
        with pytest.raises(Refused, match="cannot be loaded: Couldn't reach the Hub"):
            list(read_part(part))

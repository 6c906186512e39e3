"""Shuffling keeps every row, and its order follows from the seed alone."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.problems import Refused
from fsft.runtime.data.dataset import open_dataset
from fsft.runtime.data.info import read_info
from fsft.runtime.data.shuffle import shuffle, shuffled
from tests.benchmarks.data.shuffle import measure_shuffle
from tests.runtime.data.parquet import contents, lists_of_lengths, rows_of, write_tokens


def ids_in_order(folder: Path, seed: int, bucket_bytes: int) -> list[int]:
    """The ids of part files under `folder` as they come out."""
    dataset = open_dataset([folder])
    tables = shuffled(dataset, folder / "scratch", seed=seed, bucket_bytes=bucket_bytes)
    ids = [i for table in tables for i in table.column("id").to_pylist()]
    assert not (folder / "scratch").exists()
    return ids


@given(lengths=lists_of_lengths, seed=st.integers(0, 2**64), cut=st.integers(0, 120))
def test_the_rows_are_the_same_in_another_order(lengths: list[int], seed: int, cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = write_tokens(folder / "in" / "one.parquet", lengths[:cut])
        two = write_tokens(folder / "in" / "two.parquet", lengths[cut:], first=cut)
        before = contents(folder / "in")
        info = shuffle([folder / "in"], folder / "out", seed=seed, num_parts=1)
        assert sorted(map(str, rows_of(folder / "out"))) == sorted(map(str, rows_of(one, two)))
        assert (info.rows, info.tokens) == (len(lengths), sum(lengths))
        assert info.learned_tokens == sum(length // 2 for length in lengths)
        assert read_info(folder / "out") == info
        assert contents(folder / "in") == before


@given(lengths=lists_of_lengths, seed=st.integers(0, 2**64), bucket_bytes=st.integers(100, 20_000))
def test_the_order_does_not_depend_on_the_memory_limit(
    lengths: list[int], seed: int, bucket_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_tokens(Path(name) / "in.parquet", lengths)
        roomy = ids_in_order(Path(name), seed, 1 << 30)
        assert ids_in_order(Path(name), seed, bucket_bytes) == roomy
        assert sorted(roomy) == list(range(len(lengths)))


@given(st.integers(0, 2**32))
def test_a_seed_gives_the_same_bytes_each_time_and_another_seed_another_order(seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_tokens(folder / "in.parquet", range(60))
        for out, its_seed in (("a", seed), ("b", seed), ("c", seed + 1)):
            shuffle([source], folder / out, seed=its_seed, num_parts=3)
        assert contents(folder / "a") == contents(folder / "b")
        assert rows_of(folder / "a") != rows_of(folder / "c")


def test_every_row_comes_to_every_place_equally_often(tmp_path: Path) -> None:
    write_tokens(tmp_path / "in.parquet", [1] * 8)
    rounds = 1600
    places = Counter(
        (index, place)
        for seed in range(rounds)
        for place, index in enumerate(ids_in_order(tmp_path, seed, 200))
    )
    expected = rounds / 8
    chi_squared = sum((places[i, j] - expected) ** 2 for i in range(8) for j in range(8)) / expected
    # 49 degrees of freedom: 85 is passed by chance once in a thousand, and the seeds are fixed.
    assert chi_squared < 85


def test_nested_null_and_repeated_values_survive(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [{"role": "user", "content": "你好" * (i % 3)}] if i % 4 else None,
            "kind": "abc"[i % 3],
            "score": None if i % 5 else i / 2,
        }
        for i in range(200)
    ]
    table = pa.Table.from_pylist(rows)
    kinds = table.column("kind").dictionary_encode()
    pq.write_table(table.set_column(1, "kind", kinds), tmp_path / "in.parquet", row_group_size=9)
    info = shuffle([tmp_path / "in.parquet"], tmp_path / "out", num_parts=2)
    assert sorted(map(str, rows_of(tmp_path / "out"))) == sorted(map(str, rows))
    assert (info.samples, info.tokens, info.columns["kind"]) == (200, None, "string")
    group = pq.ParquetFile(tmp_path / "out" / "part-00000.parquet").metadata.row_group(0)
    assert group.column(0).path_in_schema == "messages.list.element.role"
    assert "RLE_DICTIONARY" in group.column(0).encodings


@pytest.mark.parametrize("compression", ["zstd", "gzip", "brotli", "snappy", "lz4"])
def test_each_compression_is_written_with_tokens_split_by_byte(
    tmp_path: Path, compression: str
) -> None:
    source = write_tokens(tmp_path / "in.parquet", range(1, 50))
    shuffle([source], tmp_path / "out", num_parts=1, compression=compression)  # type: ignore[arg-type]
    group = pq.ParquetFile(tmp_path / "out" / "part-00000.parquet").metadata.row_group(0)
    chunk = group.column(1)
    assert chunk.path_in_schema == "input_ids.list.element"
    assert chunk.compression.lower() == compression
    assert "BYTE_STREAM_SPLIT" in chunk.encodings
    assert len(rows_of(tmp_path / "out")) == 49


def test_a_column_may_be_called_as_ours_but_not_twice(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": range(50)}), tmp_path / "in.parquet")
    ids = shuffled(open_dataset([tmp_path]), tmp_path / "s", seed=1, bucket_bytes=200)
    assert sorted(i for table in ids for i in table.column("key").to_pylist()) == [*range(50)]
    table = pa.table([[1], [2]], names=["x", "x"])
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(Refused, match="two columns of one name"):
        shuffle([tmp_path / "in.parquet"], tmp_path / "out")


def test_integers_of_different_width_are_read_as_the_wider(tmp_path: Path) -> None:
    for name, kind in (("a", pa.int32()), ("b", pa.int64())):
        table = pa.table({"x": pa.array([1, 2], kind), "y": [name, name]})
        pq.write_table(table.select(["x", "y"] if name == "a" else ["y", "x"]), tmp_path / name)
    info = shuffle([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert info.columns == {"x": "int64", "y": "string"}
    assert sorted(row["x"] for row in rows_of(tmp_path / "out")) == [1, 1, 2, 2]


def test_other_columns_are_named_file_by_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1], "z": [1]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"x": [[1]]}), tmp_path / "c.parquet")
    with pytest.raises(Refused) as refused:
        shuffle([tmp_path], tmp_path.parent / "out")
    told = [str(problem) for problem in refused.value.problems]
    assert len(told) == 2
    assert "b.parquet" in told[0]
    assert "also has z" in told[0]
    assert "c.parquet" in told[1]


@pytest.mark.slow
def test_ten_million_rows_are_shuffled_in_half_a_gibibyte() -> None:
    for case, told in measure_shuffle().items():
        assert told["within_limit"], (case, told)
        assert told["rows"] == 10_000_000


def test_a_million_rows_are_spread_over_all_parts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": np.arange(1_000_000)}), tmp_path / "in.parquet")
    info = shuffle([tmp_path / "in.parquet"], tmp_path / "out", num_parts=3)
    assert [part.rows for part in info.files] == [333_334, 333_333, 333_333]
    for part in info.files:
        ids = pq.read_table(tmp_path / "out" / part.name)["id"].to_numpy()
        assert abs(ids.mean() - 500_000) < 3000

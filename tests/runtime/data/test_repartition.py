"""Parts keep the order, are balanced, and are never empty."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.problems import Refused
from fsft.runtime.data.repartition import repartition
from tests.runtime.data.parquet import lists_of_lengths, rows_of, write_tokens


@given(lengths=lists_of_lengths, data=st.data(), cut=st.integers(0, 120))
def test_rows_are_balanced_to_within_one(lengths: list[int], data: st.DataObject, cut: int) -> None:
    num_parts = data.draw(st.integers(1, len(lengths)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = write_tokens(folder / "in" / "one.parquet", lengths[:cut])
        two = write_tokens(folder / "in" / "two.parquet", lengths[cut:], first=cut)
        info = repartition([folder / "in"], folder / "out", num_parts=num_parts)
        assert rows_of(folder / "out") == rows_of(one, two)
        sizes = [part.rows for part in info.files]
        assert len(sizes) == num_parts
        assert max(sizes) - min(sizes) <= 1


@given(lengths=lists_of_lengths, data=st.data())
def test_tokens_are_balanced_to_within_the_longest_row(
    lengths: list[int], data: st.DataObject
) -> None:
    num_parts = data.draw(st.integers(1, len(lengths)))
    with tempfile.TemporaryDirectory() as name:
        source = write_tokens(Path(name) / "in.parquet", lengths)
        out = Path(name) / "out"
        info = repartition([source], out, num_parts=num_parts, by="tokens")
        assert rows_of(out) == rows_of(source)
        assert len(info.files) == num_parts
        assert all(part.rows for part in info.files)
        share = sum(lengths) / num_parts
        assert max(part.tokens or 0 for part in info.files) <= share + max(lengths)


def test_one_giant_row_leaves_no_part_empty(tmp_path: Path) -> None:
    source = write_tokens(tmp_path / "in.parquet", [1, 1, 5000, 1, 1])
    info = repartition([source], tmp_path / "out", num_parts=5, by="tokens")
    assert [part.rows for part in info.files] == [1] * 5


def test_a_column_without_tokens_is_refused_with_those_that_have_some(tmp_path: Path) -> None:
    source = write_tokens(tmp_path / "in.parquet", [1, 2])
    with pytest.raises(Refused, match="input_ids, labels"):
        repartition([source], tmp_path / "out", num_parts=2, by="tokens", column="id")


def test_more_parts_than_rows_are_refused(tmp_path: Path) -> None:
    source = write_tokens(tmp_path / "in.parquet", [1, 2])
    with pytest.raises(Refused, match="too few for 3 parts"):
        repartition([source], tmp_path / "out", num_parts=3)

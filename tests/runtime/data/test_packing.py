"""Packing samples into rows."""

from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.data.packing import pack

LENGTHS = st.lists(st.integers(1, 64), max_size=200)


@given(LENGTHS)
def test_every_sample_is_in_exactly_one_row_and_no_row_overflows(lengths: list[int]) -> None:
    rows = pack(lengths, 64)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 64 for row in rows)


@given(LENGTHS)
def test_no_two_rows_could_be_one(lengths: list[int]) -> None:
    sizes = sorted(sum(lengths[index] for index in row) for row in pack(lengths, 64))
    assert len(sizes) < 2 or sizes[0] + sizes[1] > 64


def test_packing_is_tight_and_deterministic() -> None:
    lengths = [index % 61 + 3 for index in range(2000)]
    rows = pack(lengths, 256)
    assert rows == pack(lengths, 256)
    assert sum(lengths) / (len(rows) * 256) > 0.99

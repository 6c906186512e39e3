"""Samples laid out to be trained from."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.runtime.data.encode import IGNORED
from fsft.runtime.data.training_set import Portion, TokenRow, TokenRows, write_training_set

Sample = tuple[list[int], list[int]]
"""Token ids and labels."""


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    """Samples of 1 to 12 tokens, each with its own ids so that they can be told apart."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=30))
    made = []
    for index, length in enumerate(lengths):
        ids = [index * 100 + place for place in range(length)]
        learned = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        made.append((ids, [i if known else IGNORED for i, known in zip(ids, learned, strict=True)]))
    return made


def written(
    folder: Path, given_: Sequence[Sample], portions: Sequence[Portion], *, packing: bool = True
) -> TokenRows:
    ids, labels = zip(*given_, strict=True)
    kind = pa.list_(pa.int32())
    whole = pa.table({"input_ids": pa.array(ids, kind), "labels": pa.array(labels, kind)})
    batches = whole.to_batches(max_chunksize=7)
    write_training_set(folder, batches, portions, sequence_length=16, packing=packing)
    return TokenRows(folder)


def parts(row: TokenRow) -> list[Sample]:
    bounds = row.cu_seqlens.tolist()
    return [
        (row.input_ids[start:end].tolist(), row.labels[start:end].tolist())
        for start, end in pairwise(bounds)
    ]


@settings(deadline=None)
@given(samples(), st.booleans())
def test_rows_hold_every_sample_once_and_whole(made: list[Sample], packing: bool) -> None:
    with TemporaryDirectory() as folder:
        rows = written(Path(folder), made, [Portion(len(made))], packing=packing)
        found = [part for index in range(len(rows)) for part in parts(rows[index])]
        assert sorted(found) == sorted(made)
        assert all(len(rows[index].input_ids) <= 16 for index in range(len(rows)))
        assert rows.lengths.tolist() == [len(rows[index].input_ids) for index in range(len(rows))]
        assert rows.extent.num_tokens == sum(len(ids) for ids, _ in made)
        assert rows.lengths[rows.extent.longest_row] == rows.lengths.max()
        in_order = [rows.sample(index) for index in range(len(made))]
        assert [(one.input_ids.tolist(), one.labels.tolist()) for one in in_order] == made


@pytest.mark.parametrize(("weight", "times"), [(1, {1}), (2, {2}), (0.5, {0, 1}), (2.5, {2, 3})])
def test_a_weight_says_how_often_a_sample_is_seen(
    weight: float, times: set[int], tmp_path: Path
) -> None:
    made = [([index], [index]) for index in range(40)]
    rows = written(tmp_path, made, [Portion(20), Portion(20, weight)])
    seen = Counter(ids[0] for index in range(len(rows)) for ids, _ in parts(rows[index]))
    assert {seen[index] for index in range(20)} == {1}
    assert {seen[index] for index in range(20, 40)} == times
    assert sum(seen.values()) == 20 + round(20 * weight)


def test_the_rows_are_the_same_each_time(tmp_path: Path) -> None:
    made = [([index] * 5, [index] * 5) for index in range(50)]
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        written(folder, made, [Portion(50)])
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()


def test_neighbours_of_the_input_are_parted(tmp_path: Path) -> None:
    made = [([index] * 4, [index] * 4) for index in range(400)]
    rows = written(tmp_path, made, [Portion(400)])
    first = [ids[0] for ids, _ in parts(rows[0])]
    assert max(first) - min(first) > 20


def test_without_labels_all_but_the_first_token_is_learned(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict(
        {"input_ids": pa.array([[5, 6, 7], [8]], pa.list_(pa.int32()))}
    )
    write_training_set(tmp_path, [batch], [Portion(2)], sequence_length=8, packing=False)
    rows = TokenRows(tmp_path)
    assert rows.sample(0).labels.tolist() == [IGNORED, 6, 7]
    assert rows.sample(1).labels.tolist() == [IGNORED]


def test_rows_are_views_that_survive_each_other(tmp_path: Path) -> None:
    made = [([index] * 16, [index] * 16) for index in range(5)]
    rows = written(tmp_path, made, [Portion(5)])
    kept = rows[0].input_ids.copy()
    first = rows[0]
    for index in range(5):
        rows[index].input_ids[:] = 0
    np.testing.assert_array_equal(first.input_ids, kept)
    np.testing.assert_array_equal(rows[0].input_ids, kept)

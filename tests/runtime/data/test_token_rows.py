"""Token ids that others made: taken as they are, or refused with the place."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsft.recipes.problems import Refused
from tests.runtime.data.tokenized import recipe, tokenized
from tests.support import write_jsonl

TOKENS = {"input_ids": [[5, 6, 7, 8, 9], [10, 11]], "labels": [[-100, 6, 7, -100, 9], [-100, 11]]}


BAD_TOKENS: list[tuple[dict[str, Any], str]] = [
    ({"input_ids": [1, 9999]}, "input_ids must hold numbers from 0 to 319, not 9999"),
    ({"input_ids": [1, -3]}, "input_ids must hold numbers from 0 to 319, not -3"),
    ({"input_ids": None}, "input_ids is null"),
    ({"input_ids": [1, None]}, "input_ids must hold whole numbers, not null"),
    ({"labels": [2, 3, 4, -100]}, "labels must be the token at its own place or -100"),
    ({"labels": [1]}, "labels has 1 numbers, and input_ids 4"),
    ({"cu_seqlens": [0, 2]}, "cu_seqlens must rise from 0 to the row's length, 4"),
    ({"cu_seqlens": [3]}, "cu_seqlens must rise from 0"),
]


def token_table(**columns: Any) -> pa.Table:
    lists = {name: pa.array(value, pa.list_(pa.int64())) for name, value in columns.items()}
    return pa.table(lists)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(("changes", "said"), BAD_TOKENS)
def test_a_bad_row_among_token_ids_of_others_is_named_or_skipped_and_counted(
    changes: dict[str, Any], said: str, ending: str, tmp_path: Path
) -> None:
    good = {"input_ids": [1, 2, 3, 4], "labels": [-100, 2, -100, 4], "cu_seqlens": [0, 2, 4]}
    given = [good] * 1500 + [{**good, **changes}, good]
    table = token_table(**{name: [row[name] for row in given] for name in good})
    if ending == "parquet":
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=1200)
    else:
        with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
            writer.write_table(table)
    train = f'data.train=[{{ path = "t.{ending}", format = "tokens" }}]'
    with pytest.raises(Refused, match=said) as refused:
        tokenized(recipe(tmp_path, train), tmp_path / "out")
    problem, hint = refused.value.problems
    assert (Path(problem.file).name, problem.line) == (f"t.{ending}", 1501)
    assert "on_error" in hint.reason
    tokens = tokenized(recipe(tmp_path, train, 'data.on_error="skip"'), tmp_path / "out")
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_broken, counts.num_split) == (1502, 1, 1501)
    assert f"t.{ending}:1501" in counts.first_broken
    ids = pq.read_table(tokens.files[0])["input_ids"].to_pylist()
    assert ids == [[1, 2], [3, 4]] * 1501


def test_token_ids_that_others_made_are_taken_as_they_are(tmp_path: Path) -> None:
    pq.write_table(
        token_table(ids=TOKENS["input_ids"], learn=TOKENS["labels"]), tmp_path / "t.parquet"
    )
    columns = '{ input_ids = "ids", labels = "learn" }'
    train = f'data.train=[{{ path = "t.parquet", format = "tokens", columns = {columns} }}]'
    found = pq.read_table(tokenized(recipe(tmp_path, train), tmp_path / "out").files[0])
    assert found["input_ids"].to_pylist() == TOKENS["input_ids"]
    assert found["labels"].to_pylist() == TOKENS["labels"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"other": [[1]]}, "the column is missing; there are other"),
        ({"input_ids": [["a"]]}, "the column must be lists of whole numbers, not list"),
    ],
)
def test_columns_that_cannot_be_token_ids_are_refused(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    with pytest.raises(Refused, match=said):
        tokenized(given, tmp_path / "out")


def test_packed_rows_of_others_become_their_samples_again(tmp_path: Path) -> None:
    packed = token_table(input_ids=[[5, 6, 7, 8, 9], [1, 2]], cu_seqlens=[[0, 2, 5], [0, 2]])
    pq.write_table(packed, tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    tokens = tokenized(given, tmp_path / "out")
    found = pq.read_table(tokens.files[0])
    assert found["input_ids"].to_pylist() == [[5, 6], [7, 8, 9], [1, 2]]
    assert found["labels"].to_pylist() == [[-100, 6], [-100, 8, 9], [-100, 2]]
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_split, counts.num_used) == (2, 1, 3)


def test_labels_of_some_rows_are_not_lost(tmp_path: Path) -> None:
    ids = [5, 6, 7, 8]
    write_jsonl(
        tmp_path / "t.jsonl",
        [{"input_ids": ids}, {"input_ids": ids, "labels": [-100, -100, 7, 8]}, {"input_ids": ids}],
    )
    given = recipe(tmp_path, 'data.train=[{ path = "t.jsonl", format = "tokens" }]')
    found = pq.read_table(tokenized(given, tmp_path / "out").files[0])
    all_but_first = [-100, 6, 7, 8]
    assert found["labels"].to_pylist() == [all_but_first, [-100, -100, 7, 8], all_but_first]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": [5, "x"]}, "input_ids must hold whole numbers"),
        ({"input_ids": [10**30]}, "input_ids must hold numbers from 0"),
        ({"input_ids": [1, 2], "labels": [1]}, "labels has 1 numbers, and input_ids 2"),
        ([1, 2], "needs the field input_ids"),
    ],
)
def test_a_row_that_is_no_token_ids_is_named_with_its_line(
    row: Any, said: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "t.jsonl", [{"input_ids": [5, 6]}, row, {"input_ids": [7, 8]}])
    train = 'data.train=[{ path = "t.jsonl", format = "tokens" }]'
    with pytest.raises(Refused, match=said) as refused:
        tokenized(recipe(tmp_path, train), tmp_path / "out")
    assert refused.value.problems[0].line == 2
    skipping = tokenized(recipe(tmp_path, train, 'data.on_error="skip"'), tmp_path / "out")
    (counts,) = skipping.sources
    assert (counts.num_read, counts.num_used, counts.num_broken) == (3, 2, 1)


def test_a_column_that_the_recipe_names_and_nobody_wrote_is_told(tmp_path: Path) -> None:
    pq.write_table(token_table(input_ids=[[1, 2]], lab=[[-100, 2]]), tmp_path / "t.parquet")
    columns = '{ labels = "labx" }'
    train = f'data.train=[{{ path = "t.parquet", format = "tokens", columns = {columns} }}]'
    with pytest.raises(Refused, match="labx: the column is missing; there are input_ids, lab"):
        tokenized(recipe(tmp_path, train), tmp_path / "out")


def test_tokens_of_preferences_are_not_taken_for_plain_answers(tmp_path: Path) -> None:
    columns = {"input_ids": [[1, 2]], "rejected_input_ids": [[1, 3]]}
    pq.write_table(token_table(**columns), tmp_path / "t.parquet")
    given = recipe(tmp_path, 'data.train=[{ path = "t.parquet", format = "tokens" }]')
    with pytest.raises(Refused, match="which answers people liked"):
        tokenized(given, tmp_path / "out")


@pytest.mark.parametrize("too_long", ["drop", "truncate", "split"])
def test_samples_without_a_token_are_counted_as_empty(too_long: str, tmp_path: Path) -> None:
    pq.write_table(token_table(input_ids=[[], [5] * 200, [], [6, 7], []]), tmp_path / "t.parquet")
    train = 'data.train=[{ path = "t.parquet", format = "tokens" }]'
    tokens = tokenized(recipe(tmp_path, train, f'data.too_long="{too_long}"'), tmp_path / "out")
    (counts,) = tokens.sources
    assert (counts.num_read, counts.num_empty, counts.num_fully_masked) == (5, 3, 0)
    ways = {"drop": (0, 1, 1), "truncate": (0, 2, 0), "split": (2, 4, 0)}
    assert (counts.num_split, counts.num_used, counts.num_too_long) == ways[too_long]


def test_preferences_keep_both_answers(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "train.jsonl",
        [{"prompt": f"question {i}", "chosen": "the better", "rejected": "no"} for i in range(9)],
    )
    found = pq.read_table(tokenized(recipe(tmp_path), tmp_path / "out").files[0])
    assert found.num_rows == 9
    better, worse = (found[name].to_pylist()[0] for name in ("input_ids", "rejected_input_ids"))
    assert better != worse
    learned = [t for t in found["rejected_labels"].to_pylist()[0] if t != -100]
    assert 0 < len(learned) < len(worse)

"""Rows become samples, and what becomes of each of them is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Data, Source
from fsft.runtime.context import StageContext
from fsft.runtime.data.left_out import require_samples
from fsft.runtime.data.prepare import prepare
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import SourceCounts, fill_in, read_samples, source_format
from fsft.runtime.event_log import EventLog
from fsft.runtime.run_directory import RunDirectory
from tests.support import TINY_RECIPE, dialogue, write_jsonl


def read(source: Source, **values: Any) -> tuple[list[Sample], SourceCounts]:
    counts = SourceCounts(source.path, source.format)
    placed = list(read_samples(source, Data(train=[source], **values), counts))
    return [one.sample for one in placed], counts


def test_turns_are_put_in_order_and_counted(tmp_path: Path) -> None:
    turns = [{"user": "a"}, {"user": "b"}, {"assistant": "c"}, {"user": "d"}]
    file = write_jsonl(tmp_path / "rows.jsonl", [{"conversation": turns}] * 2)
    samples, counts = read(Source(path=str(file)))
    assert [turn["content"] for turn in samples[0].messages] == ["a\nb", "c"]
    assert (counts.num_merged, counts.num_trailing_dropped, counts.num_empty) == (2, 2, 0)


def test_columns_are_renamed_before_the_shape_is_looked_for(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [{"q": "one", "a": "1"}, {"q": "two"}])
    source = Source(path=str(file), columns={"prompt": "q", "answer": "a"})
    assert source_format(source) == "prompt_answer"
    samples, counts = read(source, on_error="skip")
    assert [turn["content"] for turn in samples[0].messages] == ["one", "1"]
    assert counts.num_broken == 1


def test_a_row_of_another_shape_is_named_with_its_line_and_shape(tmp_path: Path) -> None:
    rows = [dialogue("q", "a"), {"instruction": "do", "output": "done"}]
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(Refused, match="needs messages; this row has the alpaca shape") as caught:
        read(Source(path=str(file)))
    assert caught.value.problems[0].line == 2


def test_variables_are_filled_in_wherever_people_read_text() -> None:
    turn = {"role": "assistant", "content": "{{ name }}", "reasoning_content": "{{name}}?"}
    sample = Sample(messages=(turn,), rejected=(turn,), tools=({"name": "{{name}}"},), category=1)
    filled = fill_in(sample, {"name": "Fero"})
    assert filled.messages == filled.rejected
    assert filled.messages[0]["content"] == "Fero"
    assert filled.messages[0]["reasoning_content"] == "Fero?"
    assert (filled.tools, filled.category) == (sample.tools, 1)


def prepared(folder: Path, rows: list[Any], *changes: str) -> dict[str, Any]:
    """What prepare tells of the one source of a recipe."""
    write_jsonl(folder / "train.jsonl", rows)
    recipe = resolve_paths(parse_recipe(TINY_RECIPE, overrides=changes), folder)
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    prepare(StageContext("prepare", recipe, run, EventLog(run.events_file), fingerprint=""))
    counts: dict[str, Any] = json.loads(run.data_info.read_text())["splits"]["train"]["sources"][0]
    return counts


@pytest.mark.parametrize("loss_on", ["answers", "last", "all"])
def test_each_row_and_each_part_of_a_split_one_is_counted_once(
    tmp_path: Path, loss_on: str
) -> None:
    words = "a recipe is written down "
    exchanges = [{"user": words}, {"assistant": words}]
    long = [*exchanges * 8, {"user": "q"}, {"assistant": words * 40}, *exchanges]
    rows = [long, exchanges, [{"user": "q"}], exchanges]
    counts = prepared(tmp_path, rows, 'data.too_long="split"', f'data.loss_on="{loss_on}"')
    assert counts["num_empty"] == 1
    assert counts["num_read"] + counts["num_split"] == sum(
        counts[f"num_{name}"] for name in ("used", "broken", "empty", "too_long", "fully_masked")
    )
    if loss_on == "last":
        assert (counts["num_split"], counts["num_too_long"], counts["num_used"]) == (0, 0, 3)
        assert counts["num_truncated"] == 1
    else:
        assert (counts["num_too_long"], counts["num_truncated"]) == (1, 0)
        assert counts["num_split"] >= 2


def test_rows_of_token_ids_hold_no_samples(tmp_path: Path) -> None:
    source = Source(path=str(write_jsonl(tmp_path / "ids.jsonl", [{"input_ids": [1, 2]}])))
    counts = SourceCounts(source.path, "tokens")
    assert list(read_samples(source, Data(train=[source]), counts)) == []


def test_text_of_which_all_is_too_long_is_said_to_need_another_limit() -> None:
    counts = SourceCounts("book.txt", "text", num_read=1, num_too_long=1)
    with pytest.raises(Refused, match=r'1 longer than sequence_length.*too_long = "split"'):
        require_samples([counts])

"""A look into the data tells what preparing it would."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fsft.cli.data_view import show_look
from fsft.recipes.files import parse_recipe, read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe, Source
from fsft.recipes.shipped import find_recipe
from fsft.runtime.context import StageContext
from fsft.runtime.data import look as look_module
from fsft.runtime.data import row_sample as row_sample_module
from fsft.runtime.data.files import find_files, local_file
from fsft.runtime.data.look import DataLook, look
from fsft.runtime.data.prepare import prepare
from fsft.runtime.data.row_sample import sample_rows
from fsft.runtime.event_log import EventLog
from fsft.runtime.run_directory import RunDirectory
from tests.runtime.data.data_files import write_rows
from tests.support import QUESTIONS, TINY_RECIPE, dialogue, write_jsonl


def tiny(folder: Path, *changes: str) -> Recipe:
    """The tiny recipe on `folder`/train.jsonl."""
    return resolve_paths(parse_recipe(TINY_RECIPE, overrides=changes), folder)


def tokens_of(recipe: Recipe, folder: Path) -> tuple[int, int]:
    """Samples and tokens that are trained on in one epoch, as prepare makes them."""
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    events = EventLog(run.path / "events.jsonl")
    prepare(StageContext("prepare", recipe, run, events, "0"))
    train = json.loads(run.data_info.read_text())["splits"]["train"]
    return train["num_samples"], train["num_tokens"]


def varied(path: Path, number: int, seed: int) -> Path:
    """Short rows of varying length."""
    draw = random.Random(seed)
    words = ["a", "run", "is", "planned", "before", "it", "costs", "anything"]
    rows = (
        dialogue("Who?", " ".join(draw.choices(words, k=1 + int(draw.expovariate(0.15)))))
        for _ in range(number)
    )
    return write_jsonl(path, rows)


def test_the_tokens_of_small_files_are_counted_to_the_token(tmp_path: Path) -> None:
    path = find_recipe("quickstart")
    recipe = resolve_paths(read_recipe(path), path.parent)
    seen = look(recipe, 3)
    num_samples, num_tokens = tokens_of(recipe, tmp_path)
    assert (seen.num_tokens, seen.error) == (num_tokens, 0)
    assert sum(file.num_rows - file.num_unusable for file in seen.files) == num_samples
    assert len(seen.samples) == 3


@pytest.mark.parametrize(
    "change",
    [
        "data.sequence_length=32",
        'data.too_long="truncate"',
        'data.too_long="split"',
        'data.loss_on="all"',
        "data.train.0.max_samples=3",
    ],
)
def test_rows_that_prepare_leaves_out_are_not_counted(tmp_path: Path, change: str) -> None:
    rows = [dialogue(q, a) for q, a in QUESTIONS] + [dialogue("q", "a " * 200), dialogue("q", "")]
    write_jsonl(tmp_path / "train.jsonl", rows)
    text = TINY_RECIPE
    if "max_samples" in change:
        text = text.replace('path = "train.jsonl"', 'path = "train.jsonl"\nmax_samples = 3')
        recipe = resolve_paths(parse_recipe(text), tmp_path)
    else:
        recipe = tiny(tmp_path, change)
    seen = look(recipe, 0)
    num_samples, num_tokens = tokens_of(recipe, tmp_path)
    (file,) = seen.files
    assert seen.num_tokens == num_tokens
    assert file.num_rows - file.num_unusable == num_samples
    assert seen.samples == []


def test_broken_and_empty_rows_are_counted(tmp_path: Path) -> None:
    rows = [dialogue(q, a) for q, a in QUESTIONS]
    file = write_jsonl(tmp_path / "train.jsonl", [*rows, dialogue("q", "")])
    with file.open("ab") as out:
        out.write(b'{"messages": [\n\n\xff\n{"messages": 5}\n')
    (seen,) = look(tiny(tmp_path), 3).files
    assert (seen.num_rows, seen.num_sampled, seen.num_unusable) == (12, 12, 4)
    assert seen.format == "messages"


@pytest.mark.parametrize(
    ("template", "length", "said"),
    [
        ("{{ raise_exception('never') }}", 96, "train.jsonl:1: the chat template refuses"),
        ("{% for", 96, "train.jsonl:1: the chat template cannot be understood"),
        ("{{ messages[0]['content'] }}", 96, "train.jsonl:1: the chat template leaves no token"),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", 8, "longer than"),
    ],
)
def test_why_a_row_is_not_used_is_told(
    tmp_path: Path, template: str, length: int, said: str
) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue("Who are you?", "I am a very long answer.")])
    (tmp_path / "own.jinja").write_text(template)
    source = 'data.train=[{ path = "train.jsonl", template = "own.jinja" }]'
    (file,) = look(tiny(tmp_path, source, f"data.sequence_length={length}"), 1).files
    assert file.num_unusable == 1
    assert said in file.first_unusable


def test_a_broken_row_is_told_rather_than_one_that_is_left_out(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "train.jsonl", [dialogue("a", "b " * 200), dialogue("a", "b")])
    file.write_text(file.read_text() + "{broken\n")
    (seen,) = look(tiny(tmp_path), 1).files
    assert seen.num_unusable == 2
    assert "train.jsonl:3" in seen.first_unusable


def test_an_id_that_the_model_does_not_know_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"input_ids": [[1, 2], [1, 9999]]}), tmp_path / "t.parquet")
    write_jsonl(tmp_path / "train.jsonl", [dialogue(q, a) for q, a in QUESTIONS])
    both = 'data.train=[{ path = "train.jsonl" }, { path = "t.parquet" }]'
    seen = look(tiny(tmp_path, both), 2).files[1]
    assert seen.num_unusable == 1
    assert "t.parquet:2: input_ids must hold numbers from 0 to" in seen.first_unusable


def test_the_shape_is_that_of_the_first_row_that_has_one(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"messages": None}, dialogue("a", "b")])
    (seen,) = look(tiny(tmp_path), 1).files
    assert (seen.format, seen.num_unusable) == ("messages", 1)
    assert "train.jsonl:1: the messages shape needs messages" in seen.first_unusable


def test_very_long_lines_are_not_passed_over_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sample_module, "MOST_PASSED", 300_000)
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}, {"text": "a" * 100_000}])
    sample = sample_rows([local_file(file)], 2000)
    assert 2 <= len(sample.rows) < 20


def test_a_file_of_blank_lines_is_looked_at_or_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("\n \n")
    with pytest.raises(Refused, match="no readable row"):
        look(tiny(tmp_path), 3)
    text = TINY_RECIPE.replace('path = "train.jsonl"', 'path = "train.jsonl"\nformat = "text"')
    (seen,) = look(resolve_paths(parse_recipe(text), tmp_path), 3).files
    assert (seen.num_rows, seen.num_tokens, seen.error) == (0, 0, 0)


def test_what_is_learned_is_told_from_what_is_not(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue("Who are you?", "I am {{name}}.")])
    (sample,) = look(tiny(tmp_path), 3).samples
    learned = "".join(text for text, is_learned in sample.segments if is_learned)
    masked = "".join(text for text, is_learned in sample.segments if not is_learned)
    assert "I am Fero." in learned
    assert "Who are you?" in masked
    assert sample.path == str(tmp_path / "train.jsonl")


def test_a_sample_of_which_nothing_is_learned_is_shown_as_such(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue(q, a) for q, a in QUESTIONS])
    (tmp_path / "mute.jinja").write_text("{{ messages[0]['content'] }}")
    seen = look(tiny(tmp_path, 'data.template="mute.jinja"'), 2)
    assert [[learned for _, learned in sample.segments] for sample in seen.samples] == [[False]] * 2
    assert seen.num_tokens == 0
    assert seen.files[0].num_unusable == len(QUESTIONS)


def test_a_template_that_is_none_is_told_by_its_key(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue(q, a) for q, a in QUESTIONS])
    (tmp_path / "torn.jinja").write_text("{% for m in messages %}")
    assert "data.template" in look(tiny(tmp_path, 'data.template="torn.jinja"'), 1).trouble


def two_files(folder: Path, first: Any, other: Any) -> Recipe:
    """The tiny recipe on two files of one row each."""
    write_jsonl(folder / "train.jsonl", [first])
    write_jsonl(folder / "other.jsonl", [other])
    source = '[[data.train]]\npath = "train.jsonl"'
    more = source.replace("train.jsonl", "other.jsonl") + '\ntemplate = "vanilla"\n'
    text = TINY_RECIPE.replace(source, f"{source}\n\n{more}")
    return resolve_paths(parse_recipe(text), folder)


def test_each_file_is_shown_once_at_least_in_its_own_template(tmp_path: Path) -> None:
    rated = {**dialogue("Who?", "I."), "label": False}
    preference = {"prompt": "Who?", "chosen": "I am.", "rejected": "You are."}
    seen = look(two_files(tmp_path, preference, rated), 1)
    assert [sample.about for sample in seen.samples] == [
        "better answer",
        "worse answer",
        "not liked",
    ]
    texts = ["".join(text for text, _ in sample.segments) for sample in seen.samples]
    assert "<|im_start|>assistant\nYou are.<|im_end|>" in texts[1]
    assert texts[2].startswith("Q: Who?\nA: I.")
    assert [sample.line for sample in seen.samples] == [1, 1, 1]
    assert look(two_files(tmp_path, preference, rated), 0).samples == []


def test_category_and_images_are_told_without_a_tokenizer_too(tmp_path: Path) -> None:
    row = {"conversation": [{"user": ["<image>?", "a.jpg"]}, {"assistant": "A."}], "category": 3}
    recipe = two_files(tmp_path, row, row)
    assert [file.num_unusable for file in look(recipe, 1).files] == [1, 1], "the model is blind"
    model = recipe.model.model_copy(update={"path": "nobody/nothing", "config": None})
    data = recipe.data.model_copy(update={"tokenizer": None})
    plain = look(recipe.model_copy(update={"model": model, "data": data}), 1)
    assert {sample.about for sample in plain.samples} == {"category 3, images a.jpg"}


def estimated(file: Path, monkeypatch: pytest.MonkeyPatch, *extra: str) -> tuple[DataLook, float]:
    """What 200 rows tell of a file, and what all of them do."""
    keys = "".join(f"\n{line}" for line in extra)
    text = TINY_RECIPE.replace('path = "train.jsonl"', f'path = "{file}"{keys}')
    recipe = resolve_paths(parse_recipe(text, overrides=["data.sequence_length=4096"]), file.parent)
    tokenizer = look_module.make_tokenizer(recipe, iter(["a run is planned before it costs"]))
    with monkeypatch.context() as patch:
        patch.setattr(look_module, "make_tokenizer", lambda *_: tokenizer)
        whole = look(recipe, 0).num_tokens if not extra else 0.0
        patch.setattr(look_module, "MOST_ROWS", 200)
        return look(recipe, 0), whole


def test_most_estimates_lie_within_their_stated_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = 0
    monkeypatch.setattr(look_module, "MOST_ROWS", 10**6)
    for seed in range(10):
        file = varied(tmp_path / f"{seed}.jsonl", 2500, seed)
        seen, truth = estimated(file, monkeypatch)
        assert seen.files[0].num_sampled <= 200
        assert 0 < seen.error < 0.1 * truth
        assert seen.files[0].num_rows == pytest.approx(2500, rel=0.2)
        within += abs(seen.num_tokens - truth) <= seen.error
    # 19 of 20 in the long run; 7 of 10 or fewer happens once in a hundred times.
    assert within >= 8


def test_a_large_file_is_read_only_in_part_and_its_first_rows_are_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = varied(tmp_path / "train.jsonl", 20_000, seed=1)
    all_rows, _ = estimated(file, monkeypatch, 'format = "messages"')
    half, _ = estimated(file, monkeypatch, "max_samples = 10000")
    assert all_rows.files[0].num_sampled <= 200
    assert half.files[0].num_rows == pytest.approx(10_000)
    assert half.num_tokens == pytest.approx(all_rows.num_tokens / 2, rel=0.15)
    as_many_as_are_read, _ = estimated(file, monkeypatch, "max_samples = 200")
    assert (as_many_as_are_read.files[0].num_rows, as_many_as_are_read.error) == (200, 0)


def test_blank_lines_between_rows_are_not_taken_for_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = varied(tmp_path / "train.jsonl", 2000, seed=1)
    file.write_text(file.read_text().replace("\n", "\n\n"))
    seen, _ = estimated(file, monkeypatch, 'format = "messages"')
    assert seen.files[0].num_unusable == 0
    assert seen.files[0].num_rows == pytest.approx(2000, rel=0.2)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "csv", "txt", "arrow", "parquet"])
def test_of_large_files_of_any_kind_rows_are_about_right(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(5)
    texts = [draw.randbytes(draw.randrange(20, 60)).hex() for _ in range(20_000)]
    monkeypatch.setattr(row_sample_module, "MOST_BYTES", 400_000)
    for index, bounds in enumerate([(0, 2000), (2000, 20_000)]):
        write_rows(tmp_path / f"{index}.{ending}", texts[slice(*bounds)])
    (tmp_path / "plain").unlink(missing_ok=True)
    sample = sample_rows(find_files(Source(path=str(tmp_path))), 500)
    assert 400 <= len(sample.rows) <= 501
    assert {row.value["text"] for row in sample.rows} <= set(texts)
    assert sample.num_rows == pytest.approx(20_000, rel=0.1)
    is_known_as_a_whole = ending in ("jsonl", "arrow", "parquet")
    assert sample.is_from_start != is_known_as_a_whole


def test_a_broken_file_among_others_is_a_row_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied(tmp_path / "a.jsonl", 500, seed=1)
    (tmp_path / "b.parquet").write_bytes(b"x" * 20_000)
    (tmp_path / "c.json").write_bytes(b"{\n" * 10_000)
    recipe = resolve_paths(
        parse_recipe(TINY_RECIPE.replace('"train.jsonl"', f'"{tmp_path}"')), tmp_path
    )
    (whole,) = look(recipe, 0).files
    assert (whole.num_rows, whole.num_unusable, whole.error) == (502, 2, 0)
    monkeypatch.setattr(look_module, "SMALL", 1)
    (some,) = look(recipe, 0).files
    assert some.num_unusable >= 2


def test_data_that_was_read_from_its_beginning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [dialogue("Who?", "I am " + "very " * (index % 9)) for index in range(5000)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(look_module, "SMALL", 1)
    monkeypatch.setattr(row_sample_module, "MOST_BYTES", len(text) // 4)
    recipe = parse_recipe(TINY_RECIPE.replace('"train.jsonl"', '"train.jsonl.gz"'))
    seen = look(resolve_paths(recipe, tmp_path), 0)
    assert seen.files[0].is_from_start
    assert seen.files[0].num_rows == pytest.approx(5000, rel=0.1)
    with (tmp_path / "out").open("w") as out:
        show_look(seen, Console(file=out, width=200))
    assert "was read from its beginning" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("number", [1, 7, 60, 99, 100])
def test_rows_of_a_list_are_spread_over_all_of_it(tmp_path: Path, number: int) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"text": str(i)} for i in range(100)]))
    sample = sample_rows([local_file(file)], number)
    places = [int(row.value["text"]) for row in sample.rows]
    assert len(places) == number
    assert places == sorted(set(places))
    assert places[-1] >= 100 - 100 / number - 1
    assert sample.num_rows == 100


def test_rows_of_parquet_come_from_all_row_groups(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": str(i)} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=100)
    sample = sample_rows([local_file(tmp_path / "rows.parquet")], 50)
    assert {int(row.value["text"]) // 100 for row in sample.rows} == set(range(10))
    assert (len(sample.rows), sample.num_rows) == (50, 1000)

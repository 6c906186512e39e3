"""Units, positions, fingerprints and generated files."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.fingerprint import fingerprint
from fsft.recipes.json_schema import recipe_json_schema, shipped_json_schema
from fsft.recipes.positions import key_lines, line_of
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.shipped import shipped_recipes
from fsft.recipes.stages import STAGES, stages_that_read
from fsft.recipes.units import format_count, format_duration, parse_bytes, parse_count
from fsft.recipes.wording import all_keys
from tests.event_docs import event_docs
from tests.recipes.strategies import DOCUMENTS, RECIPES
from tests.support import TINY_RECIPE


@pytest.mark.parametrize(
    ("text", "count"),
    [("0.7B", 700_000_000), ("700_000_000", 700_000_000), ("1.5 k", 1500), ("2T", 2 * 10**12)],
)
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("5GB", 5 * 10**9), ("5GiB", 5 * 2**30), ("0.5 KiB", 512), ("7B", 7)]
)
def test_bytes_are_read_in_tens_or_twos(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "B", "-1", "1.5", "0.0001K", "1X", "1e9", "١B"])
def test_what_is_no_whole_count_stays_text_to_be_refused(text: str) -> None:
    assert parse_count(text) == text


@given(st.integers(0, 10**15))
def test_a_written_count_is_read_back_to_three_digits(count: int) -> None:
    back = parse_count(format_count(count))
    assert isinstance(back, str) or back == pytest.approx(count, rel=6e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (245, "4 min 05 s"), (7380, "2 h 03 min")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_lines_are_found_in_arrays_of_tables_strings_and_dotted_keys() -> None:
    text = (
        'a.b = 1\n"quoted" = 2\ns = """\nnot = 1\n"""\n'
        "[[t]]\nx = 1\n[[t]]\nx = 2\n[t.inner]\ny = 3\n[ u . v ] # why\nz = 4\n"
    )
    assert key_lines(text) == {
        "a": 1,
        "a.b": 1,
        "quoted": 2,
        "s": 3,
        "t": 6,
        "t.0": 6,
        "t.0.x": 7,
        "t.1": 8,
        "t.1.x": 9,
        "t.1.inner": 10,
        "t.1.inner.y": 11,
        "u": 12,
        "u.v": 12,
        "u.v.z": 13,
    }
    assert line_of("t.1.missing.deeper", key_lines(text)) == 8
    assert line_of("nothing", key_lines(text)) is None


@given(RECIPES)
def test_every_key_of_a_written_recipe_has_its_line(recipe: Recipe) -> None:
    from fsft.recipes.writing import to_toml

    text = to_toml(recipe)
    lines, text_lines = key_lines(text), text.split("\n")
    for name, table in to_document(recipe).items():
        for key in table if isinstance(table, dict) else ():
            line = text_lines[lines[f"{name}.{key}"] - 1]
            assert line.startswith((f"{key} = ", f"[{name}.{key}]", f"[[{name}.{key}]]"))


@given(DOCUMENTS)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(document: dict[str, object]) -> None:
    assert fingerprint(dict(reversed(document.items()))) == fingerprint(document)
    assert fingerprint({**document, "seed": -1}) != fingerprint(document)
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("data.sequence_length", STAGES),
        ("model.path", STAGES),
        ("optimizer.clip", STAGES[1:]),
        ("seed", STAGES[1:]),
        ("evaluate.samples", STAGES[3:]),
        ("description", STAGES[4:]),
        ("serve.port", ()),
        ("checkpoint.every", ()),
        ("parallel.zero", ()),
        ("parallel.micro_batch", STAGES[1:]),
    ],
)
def test_a_changed_key_asks_for_its_stage_and_all_after_it(
    key: str, stages: tuple[str, ...]
) -> None:
    assert tuple(stages_that_read(key)) == stages
    assert key in all_keys()


def test_the_shipped_json_schema_is_current() -> None:
    assert shipped_json_schema() == recipe_json_schema(), "run `make generated`"


def test_the_events_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "events.md"
    assert page.read_text() == event_docs(), "run `make generated`"


@given(DOCUMENTS)
def test_the_json_schema_takes_every_valid_recipe(document: dict[str, object]) -> None:
    jsonschema.validate(document, SCHEMA)


SCHEMA = json.loads(shipped_json_schema())


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_shipped_recipes_follow_the_json_schema(path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text()), SCHEMA)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("parallel", "zerro", 1),
        ("parallel", "zero", "1"),
        ("budget", "steps", 0),
        ("budget", "tokens", "lots"),
        ("convert", "max_shard_size", "5 gigs"),
        ("hardware", "devices_per_node", 0),
        ("", "schema_", 1),
        ("", "schema", 2),
    ],
)
def test_the_json_schema_refuses_what_fsft_refuses(table: str, key: str, value: object) -> None:
    document = tomllib.loads(TINY_RECIPE)
    (document[table] if table else document)[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)

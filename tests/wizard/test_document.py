"""An opened recipe keeps everything that was not changed."""

import difflib

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from fsft.recipes.files import parse_recipe
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.shipped import shipped_recipes
from fsft.wizard.document import changed, written
from fsft.wizard.draft import BYTE_ORDER_MARK, Draft
from fsft.wizard.outlook import Outlook, look
from tests.recipes.strategies import RECIPES
from tests.support import TINY_RECIPE
from tests.wizard.strategies import NO_GPU, opened

ROWS_FIRST = """\
schema = 1
name = "rows-first"

[[data.train]] # first
path = "library:identity.jsonl"
max_samples = 5 # few
# about the next
[[data.train]]
path = "library:about_fsft.jsonl"
format = "messages"

# about all data
[data]
sequence_length = 64 # rows
template = "chatml"

[model]
path = "nobody/x"

[budget] # how long
epochs = 3 # passes

[optimizer]
learning_rate = 1e-5 # slow

[data.variables]
name = "x"
"""
ODD = """\
# head
schema=1   # one
name    = 'odd'
data = { sequence_length = 64, train = [{ path = "library:identity.jsonl", max_samples = 3 }, \
{path="library:about_fsft.jsonl"}] } # inline
hardware.nodes = 1
  [model]
  path = "nobody/x"   # the model
  # after
[budget]
epochs=3
[optimizer]
learning_rate=1e-5
"""
ARRAY = """\
schema = 1
name = "array"
model = { path = "nobody/x" }
budget = { epochs = 3 }
optimizer.learning_rate = 1e-5

[data]
train = [
  { path = "library:identity.jsonl", max_samples = 5 }, # few
  { path = "library:about_fsft.jsonl" },
]
eval = []
sequence_length = 64

[data.variables]
name = "x"
"""
TEXTS = {
    **{name: file.read_text() for name, file in shipped_recipes().items()},
    "tiny": TINY_RECIPE.replace("train.jsonl", "library:identity.jsonl"),
    "rows first": ROWS_FIRST,
    "odd": ODD,
    "array": ARRAY,
    "crlf": ROWS_FIRST.replace("\n", "\r\n"),
    "mark": BYTE_ORDER_MARK + ROWS_FIRST,
    "no end": ROWS_FIRST.rstrip("\n"),
}
BOTH = "library:identity.jsonl, library:about_fsft.jsonl"
CHANGES = {
    "budget.tokens": "0.7B",
    "optimizer.learning_rate": "2e-5",
    "optimizer.warmup": "0.1",
    "data.train": "library:identity.jsonl",
    "data.eval": "library:identity.jsonl",
    "data.sequence_length": "128",
    "parallel.global_batch": "64",
    "serve.port": "8001",
    "hardware.nodes": "3",
    "seed": "7",
    "description": 'a "quoted"\nline \\ é',
    "model.path": "gpt2",
}


def outlook_of(text: str, key: str, answer: str) -> Outlook:
    """The outlook of a recipe that was opened, with one answer."""
    return look(opened(text).answer(key, answer), NO_GPU)


def changed_lines(before: str, after: str) -> list[str]:
    """Lines that went, with "-", and lines that came, with "+"; blank ones are left out."""
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line.strip() for line in lines if line[0] in "+-" and line[2:].strip()]


@pytest.mark.parametrize("name", TEXTS)
def test_what_was_not_changed_is_written_to_the_byte(name: str) -> None:
    outlook = look(opened(TEXTS[name]), NO_GPU)
    assert outlook.recipe is not None
    assert not outlook.changes
    assert outlook.text == TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("key", ["seed", "data.train", "budget.epochs", "optimizer.learning_rate"])
def test_the_answer_that_stood_there_changes_nothing(name: str, key: str) -> None:
    before = look(opened(TEXTS[name]), NO_GPU).answers[key]
    if before.text:
        outlook = outlook_of(TEXTS[name], key, before.text)
        assert outlook.text == TEXTS[name] or before.origin == "default"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("key", CHANGES)
def test_a_change_is_held_and_line_ends_and_comments_stay(name: str, key: str) -> None:
    text = TEXTS[name]
    outlook = outlook_of(text, key, CHANGES[key])
    assert outlook.recipe is not None, outlook.all_problems
    assert parse_recipe(outlook.text.removeprefix(BYTE_ORDER_MARK)) == outlook.recipe
    assert outlook.text.startswith(BYTE_ORDER_MARK) == text.startswith(BYTE_ORDER_MARK)
    if "\r\n" in text:
        assert "\n" not in outlook.text.replace("\r\n", "")
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in comments if line not in outlook.text] == []


@pytest.mark.parametrize(
    ("name", "key", "answer", "lines"),
    [
        ("rows first", "budget.tokens", "2M", ["- epochs = 3 # passes", '+ tokens = "2M"']),
        (
            "rows first",
            "optimizer.learning_rate",
            "0.5",
            ["- learning_rate = 1e-5 # slow", "+ learning_rate = 0.5 # slow"],
        ),
        ("rows first", "optimizer.warmup", "0.1", ["+ warmup = 0.1"]),
        ("rows first", "serve.port", "1", ["+ [serve]", "+ port = 1"]),
        (
            "rows first",
            "data.train",
            "library:identity.jsonl",
            ["- [[data.train]]", '- path = "library:about_fsft.jsonl"', '- format = "messages"'],
        ),
        (
            "rows first",
            "data.eval",
            "library:identity.jsonl",
            ["+ [[data.eval]]", '+ path = "library:identity.jsonl"'],
        ),
        (
            "crlf",
            "parallel.global_batch",
            "8",
            ["+ [parallel]", "+ global_batch = 8", '+ gradient_accumulation = "auto"'],
        ),
        ("array", "data.train", BOTH, []),
        (
            "array",
            "data.train",
            BOTH.split(",", maxsplit=1)[0],
            ['-   { path = "library:about_fsft.jsonl" },'],
        ),
        ("odd", "hardware.nodes", "2", ["- hardware.nodes = 1", "+ hardware.nodes = 2"]),
        ("array", "budget.tokens", "5", ["- budget = { epochs = 3 }", "+ budget = {  tokens = 5}"]),
    ],
)
def test_only_lines_that_have_to_differ_do(
    name: str, key: str, answer: str, lines: list[str]
) -> None:
    text = TEXTS[name]
    assert changed_lines(text, outlook_of(text, key, answer).text) == lines


def test_a_data_file_more_is_written_after_the_others_and_before_what_follows() -> None:
    text = TEXTS["quickstart"]
    draft = opened(text).answer("data.train", f"{BOTH}, {__file__}.jsonl")
    outlook = look(draft, NO_GPU)
    assert outlook.recipe is None
    assert outlook.usable is not None
    new = written(draft, outlook.usable, outlook.changes)
    assert changed_lines(text, new) == ["+ [[data.train]]", f'+ path = "{__file__}.jsonl"']
    assert new.index("test_document") < new.index("# Byte-level BPE")


def test_rows_in_another_order_keep_their_keys_and_comments() -> None:
    other = ", ".join(reversed(BOTH.split(", ")))
    outlook = outlook_of(ROWS_FIRST, "data.train", other)
    assert outlook.recipe is not None
    assert [source.max_samples for source in outlook.recipe.data.train] == [None, 5]
    new = outlook.text
    assert new.index("about_fsft") < new.index("max_samples = 5 # few") < new.index("# about all")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("key", ["budget.tokens", "budget.steps"])
def test_another_budget_removes_the_one_before(name: str, key: str) -> None:
    recipe = outlook_of(TEXTS[name], key, "1000").recipe
    assert recipe is not None
    assert recipe.budget.model_dump(exclude_none=True) == {key.partition(".")[2]: 1000}


OTHER_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 99),
        "name": st.just("other"),
        "description": st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        "data.train": st.lists(
            st.sampled_from(["a", "b.jsonl", "漢 字"]).map(lambda path: {"path": path}),
            min_size=1,
            max_size=3,
        ),
        "data.eval": st.sampled_from([[], [{"path": "e", "max_samples": 2}]]),
        "data.packing": st.booleans(),
        "hardware.nodes": st.integers(1, 9),
        "hardware.memory": st.none(),
        "optimizer.warmup": st.floats(0, 0.9),
        "serve.port": st.integers(1, 9),
        "checkpoint.every": st.none(),
    },
)


@settings(max_examples=60)
@given(RECIPES, OTHER_VALUES, st.sampled_from(["\n", "\r\n"]))
def test_any_recipe_holds_any_change_after_writing(
    recipe: Recipe, changes: dict[str, object], newline: str
) -> None:
    document = to_document(recipe)
    if document["evaluate"]["split"] == "eval":
        changes.pop("data.eval", None)
    draft: Draft = opened(tomli_w.dumps(document).replace("\n", newline))
    wanted = Recipe.model_validate(changed(document, changes))
    assert parse_recipe(written(draft, wanted, changes)) == wanted

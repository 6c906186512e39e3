"""The line of every key, however its document is written."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.keys import join_key, split_key
from fsft.recipes.positions import key_lines

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)
KEYS = st.one_of(st.sampled_from(["a", "b", "a.b", "[x]", "#", "", '"', "=", "é", "\n"]), TEXT)
STRINGS = st.one_of(
    TEXT, st.sampled_from(['"""', "'''", "# no", "[a]", "a = 1", "\na = 1\n[b]\n", '\\"', "],{"])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.dates() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every key and every list element of a document is."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, name)
            yield from paths(inner, (*path, name))


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from([tomli_w, tomlkit]))
def test_every_key_of_any_document_stands_on_its_line(
    document: dict[str, Any], writer: Any
) -> None:
    text = writer.dumps(document)
    assert tomllib.loads(text) == document
    lines, text_lines = key_lines(text), text.split("\n")
    for path in paths(document):
        line = text_lines[lines[join_key(path)] - 1]
        if isinstance(path[-1], str) and path[-1].isidentifier() and path[-1].isascii():
            assert path[-1] in line


def test_rows_inside_brackets_have_their_own_lines() -> None:
    text = (
        "[data]\n"
        "train = [ # [[data.train]]\n"
        '  { path = "a", n = 1 },\n'
        "\n"
        "  { path = 'b', \"n\" = [\n"
        "    1,\n"
        "    2\n"
        "  ] },\n"
        "]\n"
        "words = [\n"
        '  ["x"],\n'
        '  ["y"]\n'
        "]\n"
        "last = 1979-05-27 07:32:00\n"
    )
    lines = key_lines(text)
    assert {key: lines[f"data.{key}"] for key in ("train.0.n", "train.1.path", "train.1.n.1")} == {
        "train.0.n": 3,
        "train.1.path": 5,
        "train.1.n.1": 7,
    }
    assert (lines["data.words.1.0"], lines["data.last"]) == (12, 14)


@pytest.mark.parametrize(
    "value",
    [
        '"""\nx = 1\n[y]\n"""',
        "'''\nx = 1\n\"\"\"\n'''",
        '"""a"""""',
        '"""\n\\""" = """',
        '"a # \\" b"',
        '\'#\' # """',
        '"""\\\n  go on\\\n"""',
    ],
)
def test_what_is_inside_text_and_comments_is_no_key(value: str) -> None:
    text = f"first = {value}\nlast = 1\n"
    assert key_lines(text) == {"first": 1, "last": text.count("\n")}


def test_windows_line_ends_and_odd_separators_do_not_shift_lines() -> None:
    assert key_lines('a = "\u2028\x85"\r\n\r\n[t]\r\nb = 1\r\n') == {"a": 1, "t": 3, "t.b": 4}


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_dotted_key_is_split_into_the_parts_it_was_joined_from(parts: list[str]) -> None:
    joined = join_key(parts)
    if "\x7f" not in joined:
        assert split_key(joined) == parts


@pytest.mark.parametrize("text", ["", "a..b", "a b", "é", "a\nb", "[a]", "a = 1", "a.", '"a'])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - tomllib's own words
        split_key(text)

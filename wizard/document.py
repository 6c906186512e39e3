"""Answers as a TOML document: a new one in full, an opened one with only what changed."""

import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, Comment, InlineTable, Item, Key, Table, Whitespace

from fsft.recipes.schema import Recipe
from fsft.recipes.writing import to_toml
from fsft.wizard.draft import BYTE_ORDER_MARK, Draft

Changes = Mapping[str, Any]
"""Dotted key to its new value; None takes the key out."""
_LONE_NEWLINE = re.compile(r"(?<!\r)\n")


def changed(document: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """The plain values with the changes made."""
    copy = deepcopy(dict(document))
    for key, value in changes.items():
        _put(copy, key, value)
    return copy


def written(draft: Draft, recipe: Recipe, changes: Changes) -> str:
    """The TOML text: of an opened recipe, all that did not change stays to the byte."""
    if draft.opened is None:
        return to_toml(recipe)
    if not changes:
        return draft.opened.text
    text = draft.opened.text
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    new = _edited(text.removeprefix(mark), changes)
    if not _holds(new, changed(draft.opened.document, changes)):
        # Rather another order and no comments than another recipe.
        new = to_toml(recipe)
    if "\r\n" in text and not _LONE_NEWLINE.search(text):
        new = _LONE_NEWLINE.sub("\r\n", new)
    return mark + new


def value_at(document: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None where it is not set."""
    value: Any = document
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _edited(text: str, changes: Changes) -> str:
    """The text with the changes made; empty where tomlkit does not know how."""
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            _put(document, key, value)
        new = tomlkit.dumps(document)
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError):
        return ""
    return new if text.endswith("\n\n") else re.sub(r"\n\n+\Z", "\n", new)


def _holds(text: str, document: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == document
    except ValueError:
        return False


def _put(document: MutableMapping[str, Any], key: str, value: Any) -> None:
    in_toml = isinstance(document, tomlkit.TOMLDocument)
    *tables, last = key.split(".")
    place: Any = document
    for name in tables:
        if not isinstance(place.get(name), MutableMapping):
            if value is None:
                return
            place[name] = tomlkit.table() if in_toml else {}
        place = place[name]
    if value is None:
        place.pop(last, None)
    elif in_toml and isinstance(value, list) and value and isinstance(value[0], Mapping):
        before = place.get(last)
        if isinstance(before, Array) and before:
            _put_into_array(before, value)
        elif isinstance(place, InlineTable):
            place[last] = _put_into_array(tomlkit.array(), value)
        else:
            place[last] = _tables(before, value)
    else:
        place[last] = value


def _put_into_array(array: Array, rows: list[Any]) -> Array:
    """The same rows stay where they are, with their comments."""
    for index in reversed(range(len(array))):
        if array[index] not in rows:
            del array[index]
    if list(array) != rows[: len(array)]:
        array.clear()
    for row in rows[len(array) :]:
        table = tomlkit.inline_table()
        table.update(row)
        array.append(table)
    return array


def _tables(before: Any, rows: list[Any]) -> AoT:
    """Rows that were there before keep their comments, and so does what follows the last one."""
    old = list(before.body) if isinstance(before, AoT) else []
    kept = {table.get("path"): table for table in old if isinstance(table.get("path"), str)}
    tail = _without_tail(old[-1]) if old else [(None, Whitespace("\n"))]
    old_last = old[-1] if old else None
    new: list[Table] = []
    for row in rows:
        table = kept.pop(row["path"], None)
        if table is None or table.unwrap() != row:
            table = tomlkit.table()
            table.update(row)
        if new and (table not in old or new[-1] is old_last):
            _end_with_blank_line(new[-1])
        new.append(table)
    new[-1].value.body.extend(tail)
    return AoT(new, parsed=True)


def _without_tail(table: Table) -> list[tuple[Key | None, Item]]:
    """Takes the blank line at a row's end, and the comments after it: they tell what follows."""
    body = table.value.body
    end = len(body)
    while end and isinstance(body[end - 1][1], Whitespace | Comment):
        end -= 1
    starts: Iterator[int] = (i for i in range(end, len(body)) if _is_blank(body[i][1]))
    start = next(starts, len(body))
    tail = body[start:]
    del body[start:]
    return tail


def _end_with_blank_line(table: Table) -> None:
    body = table.value.body
    if not (body and _is_blank(body[-1][1])):
        body.append((None, Whitespace("\n")))


def _is_blank(item: Item) -> bool:
    return isinstance(item, Whitespace) and "\n" in item.as_string()

"""Answers as a TOML document: a new one in full, an opened one with only what changed."""

from collections.abc import Mapping, MutableMapping
from copy import deepcopy
from typing import Any

import tomlkit
from tomlkit.items import AoT, Table

from fsft.recipes.schema import Recipe
from fsft.recipes.writing import to_toml
from fsft.wizard.draft import BYTE_ORDER_MARK, Draft

Changes = Mapping[str, Any]
"""Dotted key to its new value; None takes the key out."""


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
    document = tomlkit.parse(text.removeprefix(mark))
    for key, value in changes.items():
        _put(document, key, value)
    return mark + tomlkit.dumps(document)


def value_at(document: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None where it is not set."""
    value: Any = document
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


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
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        place[last] = _rows(place.get(last), value, in_toml=in_toml)
    else:
        place[last] = value


def _rows(before: Any, rows: list[Any], *, in_toml: bool) -> Any:
    """Rows that were there before keep their comments."""
    if not in_toml:
        return rows
    kept = {row.get("path"): row for row in before} if isinstance(before, AoT) else {}
    new = tomlkit.aot()
    for row in rows:
        old = kept.get(row["path"])
        if isinstance(old, Table) and old.unwrap() == row:
            new.append(old)
            continue
        table = tomlkit.table()
        table.update(row)
        new.append(table)
    return new

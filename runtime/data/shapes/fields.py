"""Fields of a row: present or not, of the right kind, or a ValueError that says what is wrong."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_KINDS = {
    type(None): "null",
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    bytes: "bytes",
}


def has(row: Any, *names: str) -> bool:
    """Whether a row is an object that holds all of the fields; null counts as absent.

    Columnar files write null where a row lacks a field that others have.
    """
    return isinstance(row, Mapping) and all(row.get(name) is not None for name in names)


def has_any(row: Any, names: Iterable[str]) -> bool:
    """Whether a row is an object that holds one of the fields."""
    return any(has(row, name) for name in names)


def text_field(row: Mapping[str, Any], name: str) -> str:
    """The text in a field."""
    return as_text(row.get(name), name)


def optional_text(row: Mapping[str, Any], name: str) -> str:
    """The text in a field that may be absent or null: then it is empty."""
    return text_field(row, name) if has(row, name) else ""


def as_text(value: Any, what: str) -> str:
    """The text that a value is."""
    if isinstance(value, str):
        return value
    raise ValueError(f"{what} must be text, not {kind(value)}")


def as_list(value: Any, what: str) -> list[Any]:
    """The list that a value is."""
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"{what} must be a list, not {kind(value)}")


def from_json(value: Any, what: str) -> Any:
    """What a text of JSON says; a value that is no text stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not valid JSON") from None


def kind(value: Any) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "a number")

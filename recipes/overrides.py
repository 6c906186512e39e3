"""`--set key=value`: changes to a recipe from the command line."""

import tomllib
from collections.abc import Sequence
from typing import Any

from fsft.recipes.keys import join_key, split_key
from fsft.recipes.problems import Problem, RecipeError


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Put each `a.b=value` into `document`; returns the dotted keys that were set.

    A value is read as TOML and, where that fails, as text. The recipe's schema checks its type.
    """
    problems: list[Problem] = []
    keys: list[str] = []
    for override in overrides:
        name, equals, value = override.partition("=")
        path = _path(name) if equals else []
        if not path:
            problems.append(
                Problem(
                    file="--set",
                    reason=f"`{override}` is not of the form key=value.",
                    example="--set optimizer.learning_rate=1e-4",
                )
            )
        elif not _put(document, path, _parse(value)):
            problems.append(
                Problem(file="--set", key=join_key(path), reason="there is no such place to set.")
            )
        else:
            keys.append(join_key(path))
    if problems:
        raise RecipeError(*problems)
    return keys


def _path(name: str) -> list[str]:
    try:
        return split_key(name)
    except ValueError:
        return []


def _parse(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value.strip()}")["value"]
    except (ValueError, RecursionError):
        return value.strip()


def _put(document: dict[str, Any], path: list[str], value: Any) -> bool:
    place: Any = document
    *tables, last = path
    for name in tables:
        slot = _slot(place, name)
        if slot is None:
            return False
        if isinstance(place, dict):
            place.setdefault(name, {})
        place = place[slot]
    slot = _slot(place, last)
    if slot is not None:
        place[slot] = value
    return slot is not None


def _slot(place: Any, name: str) -> str | int | None:
    """What `name` stands for in a table or a list; None when there is no such place."""
    if isinstance(place, dict):
        return name
    if isinstance(place, list) and name in map(str, range(len(place))):
        return int(name)
    return None

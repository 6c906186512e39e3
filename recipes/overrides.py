"""`--set key=value`: changes to a recipe from the command line."""

import tomllib
from collections.abc import Sequence
from typing import Any

from fsft.recipes.problems import Problem, RecipeError


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Put each `a.b=value` into `document`; returns the dotted keys that were set.

    A value is read as TOML and, where that fails, as text. The recipe's schema checks its type.
    """
    problems: list[Problem] = []
    keys: list[str] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            problems.append(
                Problem(
                    file="--set",
                    reason=f"`{override}` is not of the form key=value.",
                    example="--set optimizer.learning_rate=1e-4",
                )
            )
        elif not _put(document, path, _parse(value)):
            problems.append(
                Problem(file="--set", key=key.strip(), reason="there is no such place to set.")
            )
        else:
            keys.append(key.strip())
    if problems:
        raise RecipeError(*problems)
    return keys


def _parse(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return value.strip()


def _put(document: dict[str, Any], path: list[str], value: Any) -> bool:
    place: Any = document
    for name in path[:-1]:
        if isinstance(place, dict):
            place = place.setdefault(name, {})
        elif isinstance(place, list) and name.isdigit() and int(name) < len(place):
            place = place[int(name)]
        else:
            return False
    last = path[-1]
    if isinstance(place, dict):
        place[last] = value
        return True
    if isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
        return True
    return False

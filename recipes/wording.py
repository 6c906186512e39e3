"""pydantic's errors in the words of a recipe."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fsft.recipes.problems import Problem
from fsft.recipes.schema import Recipe

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "bool": "true or false",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}


def describe(errors: Iterable[ErrorDetails]) -> list[Problem]:
    """The problems that pydantic's errors stand for, one a key."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for details in errors:
        path = _key_path(details)
        by_key.setdefault(".".join(str(part) for part in path), []).append(details)
    return [_problem(key, details) for key, details in by_key.items()]


def _problem(key: str, errors: list[ErrorDetails]) -> Problem:
    """Several errors at one key are the branches of a union: none of them fits."""
    first = errors[0]
    path = _key_path(first)
    if first["type"] == "extra_forbidden":
        return _unknown_key(key, path)
    example = _example(path, field_at(path))
    if first["type"] == "missing":
        return Problem(key=key, reason="is missing.", example=example)
    if first["type"] == "value_error":
        return Problem(key=key, reason=f"{first['ctx']['error']}.", example=example)
    reasons = " and ".join(dict.fromkeys(_reason(details) for details in errors))
    return Problem(key=key, reason=f"{_toml(first['input'])} {reasons}.", example=example)


def field_at(path: list[str | int]) -> FieldInfo | None:
    """The schema field that a key path names; None for a table row or a free key."""
    model: type[BaseModel] | None = Recipe
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        if model is None:
            return None
        field = _fields(model).get(part)
        if field is None:
            return None
        model = table_model(field.annotation)
    return field


def all_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every key that a recipe may have, dotted."""
    for name, field in _fields(model).items():
        yield prefix + name
        if table := table_model(field.annotation):
            yield from all_keys(table, f"{prefix}{name}.")


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def table_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a table, a list of tables, or an optional table."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _key_path(details: ErrorDetails) -> list[str | int]:
    """Where the error is, without the names that pydantic gives to the branches of a union."""
    path: list[str | int] = []
    model: type[BaseModel] | None = Recipe
    for part in details["loc"]:
        if isinstance(part, int):
            path.append(part)
        elif model is not None and part in _fields(model):
            path.append(part)
            model = table_model(_fields(model)[part].annotation)
    if details["type"] == "extra_forbidden":
        path.append(details["loc"][-1])
    return path


def _unknown_key(key: str, path: list[str | int]) -> Problem:
    names = ".".join(part for part in path if isinstance(part, str))
    known = list(all_keys())
    table = names.rpartition(".")[0]
    siblings = [name for name in known if name.rpartition(".")[0] == table]
    nearest = get_close_matches(names, siblings, n=1, cutoff=0.75)
    if not nearest:
        leaf = names.rpartition(".")[2]
        nearest = [name for name in known if name.rpartition(".")[2] == leaf][:1]
    if not nearest:
        nearest = get_close_matches(names, known, n=1, cutoff=0.75)
    listed = "" if nearest else f" Known here: {', '.join(n.rpartition('.')[2] for n in siblings)}."
    return Problem(key=key, reason=f"unknown key.{listed}", nearest=nearest[0] if nearest else "")


def _example(path: list[str | int], field: FieldInfo | None) -> str:
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if field is not None and field.examples:
        return f"{name} = {_toml(field.examples[0])}"
    if field is not None and (table := table_model(field.annotation)):
        inner = next(iter(_required(table)), next(iter(_fields(table).items())))
        return f"[{name}] with {_example([inner[0]], inner[1])}"
    return ""


def _required(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((name, field) for name, field in _fields(model).items() if field.is_required())


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return value if value.startswith("{") else f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(details: ErrorDetails) -> str:
    """Why the value is wrong, to be read after the value."""
    kind = details["type"]
    if kind == "literal_error":
        return f"is not one of {details['ctx']['expected']}"
    if kind == "string_pattern_mismatch":
        return "may only hold letters, digits, '.', '_' and '-'"
    if kind.endswith("_type"):
        expected = _EXPECTED.get(kind.removesuffix("_type"), kind.removesuffix("_type"))
        return f"is not {expected}"
    return details["msg"].removeprefix("Input ").replace("should", "must")

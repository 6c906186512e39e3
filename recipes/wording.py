"""pydantic's errors in the words of a recipe."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fsft.recipes.keys import join_key
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
_SHOWN_LENGTH = 60
"""How much of a wrong value a message repeats."""


def describe(errors: Iterable[ErrorDetails]) -> list[Problem]:
    """The problems that pydantic's errors stand for, one a key."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for details in errors:
        path = _key_path(details)
        by_key.setdefault(join_key(path), []).append(details)
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
        reason = str(first["ctx"]["error"])
        return Problem(
            key=key, reason=f"{reason}.", example="" if _holds_example(reason) else example
        )
    return Problem(key=key, reason=f"{_shown(first['input'])} {_reasons(errors)}.", example=example)


def _holds_example(reason: str) -> bool:
    return " = " in reason


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
            annotation = _fields(model)[part].annotation
            if _has_free_keys(annotation):
                # After each key pydantic names the kind of value that it tried.
                return path + list(details["loc"][len(path) :: 2])
            model = table_model(annotation)
    if details["type"] == "extra_forbidden":
        path.append(details["loc"][-1])
    return path


def _has_free_keys(annotation: Any) -> bool:
    return any(get_origin(kind) is dict for kind in (annotation, *get_args(annotation)))


def _unknown_key(key: str, path: list[str | int]) -> Problem:
    *tables, leaf = [part for part in path if isinstance(part, str)]
    table = ".".join(tables)
    names = f"{table}.{leaf}" if table else leaf
    known = list(all_keys())
    siblings = [name for name in known if name.rpartition(".")[0] == table]
    nearest = get_close_matches(names, siblings, n=1, cutoff=0.75)
    if not nearest:
        nearest = [name for name in known if name.rpartition(".")[2] == leaf][:1]
    if not nearest:
        nearest = get_close_matches(names, known, n=1, cutoff=0.75)
    listed = "" if nearest else f" Known here: {', '.join(n.rpartition('.')[2] for n in siblings)}."
    return Problem(key=key, reason=f"unknown key.{listed}", nearest=nearest[0] if nearest else "")


def _example(path: list[str | int], field: FieldInfo | None) -> str:
    names = [part for part in path if isinstance(part, str)]
    if field is not None and field.examples:
        example = field.examples[0]
        is_written = isinstance(example, str) and example.startswith("{")
        return f"{names[-1]} = {example if is_written else json.dumps(example)}"
    if field is not None and (table := table_model(field.annotation)):
        name, inner = next(_required(table), next(iter(_fields(table).items())))
        if table_model(inner.annotation):
            return _example([*names, name], inner)
        header = f"[{join_key(names)}]"
        if get_origin(field.annotation) is list:
            header = f"[{header}]"
        return f"{header} with {_example([name], inner)}"
    return ""


def _required(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((name, field) for name, field in _fields(model).items() if field.is_required())


def _shown(value: Any) -> str:
    """A wrong value as TOML writes it, on one line and not longer than a person reads."""
    if isinstance(value, dict | list):
        return "the table" if isinstance(value, dict) else "the list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 1]}…"


def _reasons(errors: list[ErrorDetails]) -> str:
    """Of a union's branches, the one whose kind of value it is counts; else each is named."""
    of_its_kind = [details for details in errors if not _is_other_kind(details["type"])]
    reasons = dict.fromkeys(_reason(details) for details in of_its_kind or errors)
    first, *others = reasons
    return " or ".join([first, *(reason.removeprefix("is not ") for reason in others)])


def _is_other_kind(error_type: str) -> bool:
    return error_type.endswith("_type") or error_type == "literal_error"


def _reason(details: ErrorDetails) -> str:
    """Why the value is wrong, to be read after the value."""
    kind = details["type"]
    if kind == "literal_error":
        expected = details["ctx"]["expected"]
        return f"is not one of {expected}" if " or " in expected else f"is not {expected}"
    if kind == "string_pattern_mismatch":
        return "must begin with a letter or digit, and may hold only these, '.', '_' and '-'"
    if kind == "invalid-json-value":
        return "is not text, a number, true, false, a list or a table"
    if kind.endswith("_type"):
        expected = _EXPECTED.get(kind.removesuffix("_type"), kind.removesuffix("_type"))
        return f"is not {expected}"
    message = details["msg"].partition(" after validation")[0]
    message = message.replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most")
    return message[max(0, message.find("should")) :].replace("should", "must")

"""A recipe as TOML that explains itself: every key with its description as a comment."""

import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel
from tomlkit.items import AoT, Table

from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.wording import table_model


def to_toml(recipe: Recipe) -> str:
    """The recipe with every value written out, each key under a comment that says what it is."""
    document = to_document(recipe)
    tables = {name: value for name, value in document.items() if _is_table(value)}
    plain = {name: value for name, value in document.items() if name not in tables}
    # The wizard writes the recipe anew for each key, and most of its tables are as before.
    parts = [plain, *({name: value} for name, value in tables.items())]
    return "".join(_part(json.dumps(part)) for part in parts)


@lru_cache(maxsize=64)
def _part(values: str) -> str:
    """Some keys of a recipe as TOML; their values as JSON, which can be looked up."""
    document = tomlkit.document()
    _fill(document, Recipe, json.loads(values))
    return tomlkit.dumps(document)


def _fill(
    place: tomlkit.TOMLDocument | Table, model: type[BaseModel], values: dict[str, Any]
) -> None:
    """Plain values first: in TOML a key after a table's header belongs to that table."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    tables = {name for name in values if _is_table(values[name])}
    for name, value in values.items():
        if name not in tables:
            if description := fields[name].description:
                place.add(tomlkit.comment(" ".join(description.split())))
            place.add(name, value)
    for name, value in values.items():
        if name in tables:
            inner = table_model(fields[name].annotation)
            place.add(tomlkit.nl())
            place.add(name, _table(inner, value))


def _table(model: type[BaseModel] | None, value: Any) -> Table | AoT:
    if isinstance(value, list):
        rows = tomlkit.aot()
        for row in value:
            table = tomlkit.table()
            if model:
                _fill(table, model, row)
            rows.append(table)
        return rows
    table = tomlkit.table()
    if model is None:
        table.update(value)
    else:
        _fill(table, model, value)
    return table


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def write_new_file(path: Path, text: str) -> None:
    """Write a file that must not exist yet, whole or not at all; raises FileExistsError."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        partial = Path(file.name)
        file.write(text)
    try:
        partial.chmod(0o644)
        path.hardlink_to(partial)
    finally:
        partial.unlink()

"""Well-known models: the keys of their published config.json that decide their shape.

One file a family: `common` holds for all of its models, `models` has each by its name on the
Hugging Face hub, which is the source. `num_parameters` is the published count, where it is exact;
`also` names models of the same shape, written "-Suffix" where that follows the name.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue."""

    name: str
    """As on the Hugging Face hub, with the organization."""
    config: Mapping[str, Any]
    num_parameters: int | None
    """As published, None where no exact count is known."""
    also: tuple[str, ...]
    """Names of models of the same shape."""


def catalogue() -> tuple[str, ...]:
    """The names of all models, family by family."""
    return tuple(_entries())


def find_entry(name: str) -> Entry | None:
    """The model of this name in any case, with the organization or without; None if unknown."""
    known = _by_key()
    found = known.get(name.strip().lower()) or known.get(_key(name))
    return _entries()[found] if found else None


def full_name(name: str) -> str | None:
    """The name on the Hugging Face hub of a model that is named in any way; None if unknown."""
    entry = find_entry(name)
    if entry is None:
        return None
    wanted = (name.strip().lower(), _key(name))
    for known in (entry.name, *entry.also):
        for key in (known.lower(), _key(known)):
            if key in wanted or key.rpartition("/")[2] in wanted:
                return known
    return entry.name


def matching_names(typed: str) -> list[str]:
    """The models whose names hold every word of `typed`, in any case."""
    words = typed.lower().replace("/", " ").split()
    return [name for name in catalogue() if all(word in name.lower() for word in words)]


def nearest_names(name: str, limit: int = 3) -> list[str]:
    """Names of the catalogue that look like `name`, the most alike first."""
    known = _by_key()
    keys = get_close_matches(_key(name), known, n=limit)
    tail = _key(name).rpartition("/")[2]
    keys = keys or get_close_matches(tail, known, n=limit)
    return list(dict.fromkeys(known[key] for key in keys))


@lru_cache(maxsize=1)
def _entries() -> dict[str, Entry]:
    return {entry.name: entry for entry in _read_all()}


def _read_all() -> Iterator[Entry]:
    folder = files("fsft.recipes.models.catalogue")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            family = json.loads(file.read_text(encoding="utf-8"))
            for name, keys in family["models"].items():
                also = tuple(
                    f"{name.removesuffix('-hf')}{other}" if other.startswith("-") else other
                    for other in keys.get("also", ())
                )
                config = {**family["common"], **keys}
                config.pop("also", None)
                yield Entry(name, config, config.pop("num_parameters", None), also)


@lru_cache(maxsize=1)
def _by_key() -> dict[str, str]:
    """Every way to write a name, to the name. The name itself goes before all short forms."""
    entries = _entries().values()
    written = [(entry.name, entry.name) for entry in entries]
    written += [(other, entry.name) for entry in entries for other in entry.also]
    keys: dict[str, str] = {}
    for shorten in (str.lower, _key):
        for text, name in written:
            key = shorten(text)
            keys.setdefault(key, name)
            keys.setdefault(key.rpartition("/")[2], name)
    return keys


def _key(name: str) -> str:
    """What is compared: Llamas were published with and without "Meta-" and "-hf"."""
    organization, slash, tail = name.strip().lower().rpartition("/")
    return organization + slash + tail.removeprefix("meta-").removesuffix("-hf")

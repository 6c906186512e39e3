"""What changed between two recipes, in words for a reviewer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.stages import stages_that_read


@dataclass(frozen=True)
class Change:
    """One key whose value differs; None means that the key is not set."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        redone = list(stages_that_read(self.key))
        effect = f"done again: {', '.join(redone)}" if redone else "nothing is done again"
        return f"{self.key}: {_shown(self.before)} → {_shown(self.after)} ({effect})"


def diff_recipes(before: Recipe, after: Recipe) -> list[Change]:
    """Every difference in value, defaults included, sorted by key; spelling does not count."""
    old, new = dict(_flatten(to_document(before))), dict(_flatten(to_document(after)))
    return [
        Change(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = enumerate(value)
    else:
        yield prefix, value
        return
    for name, inner in items:
        yield from _flatten(inner, f"{prefix}.{name}" if prefix else str(name))


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)

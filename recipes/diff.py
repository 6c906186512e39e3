"""What changed between two recipes, in words for a reviewer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fsft.recipes.fingerprint import fingerprint
from fsft.recipes.keys import join_key
from fsft.recipes.schema import Recipe, to_document
from fsft.recipes.stages import Stage, is_led_by_eval, stages_that_read


@dataclass(frozen=True)
class Change:
    """One key whose value differs; None means that the key is not set."""

    key: str
    before: Any
    after: Any
    redone: tuple[Stage, ...] = ()
    """The stages to be done again, in order."""

    def __str__(self) -> str:
        again = f"done again: {', '.join(self.redone)}"
        effect = again if self.redone else "nothing is done again"
        return f"{self.key}: {_shown(self.before)} → {_shown(self.after)} ({effect})"


def diff_recipes(before: Recipe, after: Recipe) -> list[Change]:
    """Every difference in value, defaults included, in the schema's order; spelling is none."""
    led = is_led_by_eval(before) or is_led_by_eval(after)
    return [
        replace(change, redone=tuple(stages_that_read(change.key, led_by_eval=led)))
        for change in _changes((), to_document(before), to_document(after))
    ]


def _changes(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[Change]:
    """A run tells values apart by their fingerprint: for it, but not for Python, 1 is not true."""
    if fingerprint(before) == fingerprint(after):
        return
    old, new = _inner(before), _inner(after)
    if old is None or new is None or not (old or new):
        yield Change(join_key(path), before, after)
        return
    for name in {**old, **new}:
        yield from _changes((*path, name), old.get(name), new.get(name))


def _inner(value: Any) -> dict[Any, Any] | None:
    """The values in a table or in rows by name or number, none where nothing is set; else None."""
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return dict(enumerate(value))
    return {} if value is None else value if isinstance(value, dict) else None


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)

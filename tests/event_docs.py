"""docs/events.md, from the event models: `python -m tests.event_docs`."""

from collections.abc import Iterator
from typing import get_args

from fsft.recipes.events import Event

HEAD = """\
# events.jsonl

Every run writes what happens to `events.jsonl` in its directory: one JSON object a line, only ever
appended. `event` names the kind. A line that is not whole JSON was torn by a full disk or a kill
and says nothing. A run that goes on after a hard kill repeats the steps after its last checkpoint:
of two `step` lines with the same number the later one counts.

This page is generated from `recipes/events.py` by `make generated`.
"""


def event_docs() -> str:
    """The page, in the order of the models."""
    return HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    union = get_args(Event)[0]
    for model in get_args(union):
        schema = model.model_json_schema()
        yield f"\n## {model.model_fields['event'].default}\n\n{model.__doc__}\n\n"
        yield "| field | type | meaning |\n|---|---|---|\n"
        for name, field in schema["properties"].items():
            if name != "event":
                yield f"| `{name}` | {_type(field)} | {field.get('description', '')} |\n"


def _type(field: dict[str, object]) -> str:
    if "anyOf" in field:
        options = field["anyOf"]
        assert isinstance(options, list)
        return " or ".join(_type(option) for option in options)
    if "enum" in field:
        options = field["enum"]
        assert isinstance(options, list)
        return ", ".join(f"`{option}`" for option in options)
    if field.get("type") == "array":
        items = field.get("items", {})
        assert isinstance(items, dict)
        inner = _type(items)
        return f"list of {inner}" if inner else "list"
    return str(field.get("type", ""))


if __name__ == "__main__":
    print(event_docs(), end="")

"""The shapes a row may have, and the one that fsft works with: a dialogue or a text."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fsft.recipes.schema import DataFormat
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes.dialogues import from_messages, from_sharegpt, from_single_keys
from fsft.runtime.data.shapes.fields import has, has_any, kind
from fsft.runtime.data.shapes.m2 import from_m2
from fsft.runtime.data.shapes.pairs import (
    from_alpaca,
    from_prompt_answer,
    from_seq2seq,
    from_text,
)
from fsft.runtime.data.shapes.preferences import from_preference, from_rated, is_rated


def detect_format(row: Any) -> DataFormat | None:
    """The shape of a row by its fields; None when it is none of the known ones.

    A row that also holds half a preference, sound or films is not taken for a plain dialogue:
    what it is about would be lost. A format named in the recipe overrides that.
    """
    found = next((name for name, shape in _SHAPES.items() if shape.fits(row)), None)
    if found not in _KNOWS_PREFERENCES and has_any(row, _OTHER_FIELDS):
        return None
    return found


def to_sample(row: Any, data_format: DataFormat) -> Sample:
    """The sample in a row; raises ValueError with the reason when the row has another shape.

    Rows that are token ids already hold no sample: see `tokens.read_tokens`.
    """
    shape = _SHAPES[data_format]
    if shape.fits(row):
        return shape.read(row)
    if not isinstance(row, Mapping) and data_format != "turns":
        raise ValueError(f"a row must be an object with named fields, not {kind(row)}")
    other = detect_format(row)
    hint = f"; this row has the {other} shape" if other else ""
    raise ValueError(f"the {data_format} shape needs {shape.needs}{hint}")


def renamed(row: Any, columns: Mapping[str, str]) -> Any:
    """The row with fields called as the shapes call them: `columns` is {field: name in the data}.

    Raises ValueError where the row has no field of that name.
    """
    if not columns or not isinstance(row, Mapping):
        return row
    if missing := [name for name in columns.values() if name not in row]:
        raise ValueError(f"the row has no field {missing[0]!r}, which columns names")
    kept = {name: value for name, value in row.items() if name not in columns.values()}
    return {**kept, **{field: row[name] for field, name in columns.items()}}


def known_shapes() -> str:
    """The shapes with what they need, for messages."""
    return "; ".join(f"{name} ({shape.needs})" for name, shape in _SHAPES.items())


class _Shape(NamedTuple):
    fits: Callable[[Any], bool]
    read: Callable[[Any], Sample]
    needs: str


def _holds(*names: str) -> Callable[[Any], bool]:
    return lambda row: has(row, *names)


def _is_single_keyed(row: Any) -> bool:
    """A list is looked at no further than its first turn: what is wrong later is told by line."""
    if isinstance(row, list | tuple):
        return bool(row) and isinstance(row[0], Mapping) and len(row[0]) == 1
    return has(row, "conversation")


def _refuse_tokens(_: Any) -> Sample:
    raise ValueError("the row holds token ids, not text")


_OTHER_FIELDS = ("chosen", "rejected", "videos", "audios")
_KNOWS_PREFERENCES = ("preference", "tokens")

_SHAPES: dict[DataFormat, _Shape] = {
    "tokens": _Shape(_holds("input_ids"), _refuse_tokens, "input_ids"),
    "preference": _Shape(_holds("chosen", "rejected"), from_preference, "chosen and rejected"),
    "kto": _Shape(is_rated, from_rated, "an answer (completion, messages) and a label"),
    "messages": _Shape(_holds("messages"), from_messages, "messages"),
    "sharegpt": _Shape(_holds("conversations"), from_sharegpt, "conversations"),
    "turns": _Shape(_is_single_keyed, from_single_keys, "a list of turns, or conversation"),
    "alpaca": _Shape(_holds("instruction", "output"), from_alpaca, "instruction and output"),
    "prompt_answer": _Shape(_holds("prompt", "answer"), from_prompt_answer, "prompt and answer"),
    "seq2seq": _Shape(_holds("source", "target"), from_seq2seq, "source and target"),
    "m2": _Shape(_holds("m2"), from_m2, "m2"),
    "text": _Shape(_holds("text"), from_text, "text"),
}
"""In the order in which they are looked for: what says more about a row comes first."""

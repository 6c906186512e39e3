"""The shapes a row may have, and the one that fsft works with: a dialogue or a text."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fsft.recipes.schema import DataFormat
from fsft.runtime.data.sample import Message, Sample

ROLES = ("system", "user", "assistant", "tool")
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "observation": "tool",
}


def detect_format(row: Any) -> DataFormat | None:
    """The shape of a row by its keys; None when it is none of the known ones.

    A row that also holds preferences is not taken for a plain dialogue: what it is about
    would be lost. A format named in the recipe overrides that.
    """
    if not isinstance(row, Mapping) or _OTHER_KEYS & row.keys():
        return None
    return next((name for name, keys in _KEYS.items() if keys <= row.keys()), None)


def to_sample(row: Any, data_format: DataFormat) -> Sample:
    """The sample in a row; raises ValueError with the reason when the row has another shape."""
    if not isinstance(row, Mapping):
        raise ValueError(f"a row must be an object with named fields, not {_kind(row)}")
    missing = sorted(_KEYS[data_format] - row.keys())
    if missing:
        raise ValueError(f"the {data_format} shape needs the field {', '.join(missing)}")
    return _READERS[data_format](row)


def known_shapes() -> str:
    """The shapes with their fields, for messages."""
    return "; ".join(f"{name} ({', '.join(sorted(keys))})" for name, keys in _KEYS.items())


def _from_messages(row: Mapping[str, Any]) -> Sample:
    sample = _dialogue(row["messages"], role_key="role", content_key="content", roles=_same(ROLES))
    return replace(sample, images=tuple(row.get("images") or ()))


def _from_sharegpt(row: Mapping[str, Any]) -> Sample:
    sample = _dialogue(
        row["conversations"], role_key="from", content_key="value", roles=_SHAREGPT_ROLES
    )
    sample = replace(sample, images=tuple(row.get("images") or ()))
    if system := row.get("system"):
        turn = {"role": "system", "content": _text(system, "system")}
        return replace(sample, messages=(turn, *sample.messages))
    return sample


def _from_alpaca(row: Mapping[str, Any]) -> Sample:
    instruction = _text(row["instruction"], "instruction")
    extra = _text(row.get("input") or "", "input")
    turns = [
        {"role": "user", "content": f"{instruction}\n{extra}" if extra else instruction},
        {"role": "assistant", "content": _text(row["output"], "output")},
    ]
    if system := row.get("system"):
        turns.insert(0, {"role": "system", "content": _text(system, "system")})
    return Sample(messages=tuple(turns))


def _from_prompt_answer(row: Mapping[str, Any]) -> Sample:
    return Sample(
        messages=(
            {"role": "user", "content": _text(row["prompt"], "prompt")},
            {"role": "assistant", "content": _text(row["answer"], "answer")},
        )
    )


def _from_text(row: Mapping[str, Any]) -> Sample:
    return Sample(text=_text(row["text"], "text"))


def _dialogue(turns: Any, *, role_key: str, content_key: str, roles: Mapping[str, str]) -> Sample:
    if not isinstance(turns, list) or not turns:
        raise ValueError("a dialogue must be a list of turns")
    messages: list[Message] = []
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping) or not {role_key, content_key} <= turn.keys():
            raise ValueError(f"turn {number} needs {role_key} and {content_key}")
        role = turn[role_key]
        if not isinstance(role, str) or role not in roles:
            raise ValueError(f"turn {number} has the unknown role {role!r}; known: {list(roles)}")
        content = _text(turn[content_key], f"{content_key} of turn {number}")
        messages.append({"role": roles[role], "content": content})
    return Sample(messages=tuple(messages))


def _text(value: Any, field: str) -> str:
    """Text, or the list of text parts that some chat formats use."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        parts = [part.get("text", part.get("value")) for part in value]
        if all(part.get("type") == "text" for part in value) and all(
            isinstance(part, str) for part in parts
        ):
            return "".join(parts)
    raise ValueError(f"{field} must be text, not {_kind(value)}")


def _kind(value: Any) -> str:
    names = {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "a boolean"}
    return names.get(type(value), "a number")


def _same(names: tuple[str, ...]) -> dict[str, str]:
    return {name: name for name in names}


_OTHER_KEYS = {"chosen", "rejected", "videos", "audios"}

_KEYS: dict[DataFormat, set[str]] = {
    "messages": {"messages"},
    "sharegpt": {"conversations"},
    "alpaca": {"instruction", "output"},
    "prompt_answer": {"prompt", "answer"},
    "text": {"text"},
}
"""The fields by which a shape is known, in the order in which they are looked for."""

_READERS: dict[DataFormat, Callable[[Mapping[str, Any]], Sample]] = {
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "alpaca": _from_alpaca,
    "prompt_answer": _from_prompt_answer,
    "text": _from_text,
}

"""Dotted keys as TOML writes them: `data.train.0.path`, `data.variables."first name"`."""

import json
import re
import tomllib
from collections.abc import Iterable

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def join_key(parts: Iterable[str | int]) -> str:
    """One dotted key; a part that is not made of letters, digits, `_` and `-` is quoted."""
    return ".".join(
        text if _BARE.fullmatch(text := str(part)) else json.dumps(text, ensure_ascii=False)
        for part in parts
    )


def split_key(text: str) -> list[str]:
    """The parts of a dotted key; raises ValueError when it is none."""
    if "\n" in text:
        raise ValueError("a key stands on one line")
    value = tomllib.loads(f"{text} = 0")
    parts: list[str] = []
    while isinstance(value, dict):
        ((part, value),) = value.items()
        parts.append(part)
    return parts

"""Reading a config.json key by key, collecting all that is wrong."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from fsft.recipes.problems import Problem, RecipeError

_MAX_SIZE = 2**31 - 1
"""Larger sizes than any model has are typing errors."""
MAX_LAYERS = 10_000
_SHOWN_LENGTH = 60
"""How much of a wrong value a message repeats."""


class _Unread(int):
    """Stands for a size that could not be read, so that reading goes on to the next problem."""


_UNREAD = _Unread(1)

Choice = TypeVar("Choice")


class Fields:
    """The keys of a config, or of a table inside it.

    A key that is absent takes the default that it is read with; where there is none, it is
    required. Wrong values are collected, and `check` raises them together.
    """

    def __init__(
        self, config: Mapping[str, Any], *, table: str = "", problems: list[Problem] | None = None
    ) -> None:
        self._config = config
        self._table = table
        self._problems: list[Problem] = [] if problems is None else problems

    def check(self) -> None:
        """Raises RecipeError with all problems found so far."""
        if self._problems:
            raise RecipeError(*dict.fromkeys(self._problems))

    def has(self, key: str) -> bool:
        """The key is there, and not null."""
        return self._config.get(key) is not None

    def is_null(self, key: str) -> bool:
        """The key is there and null, which switches off what it would have as a default."""
        return key in self._config and self._config[key] is None

    def size(
        self, key: str, default: int | None = None, *, also: str = "", most: int = _MAX_SIZE
    ) -> int:
        """A whole number from 1 to `most`; `also` is another name of the key."""
        name, value = self._value(key, also)
        if name not in self._config:
            if default is None:
                self.refuse(name, "is missing.", f'"{name}": 32')
            return _UNREAD if default is None else default
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, f"{_shown(value)} is not a whole number.", f'"{name}": 32')
            return _UNREAD
        if not 1 <= value <= most:
            self.refuse(name, f"{_shown(value)} is not between 1 and {most:,}.", f'"{name}": 32')
            return _UNREAD
        return value

    def optional_size(self, key: str, *, also: str = "") -> int | None:
        """A whole number above 0, or None where it is absent or null."""
        name, value = self._value(key, also)
        return None if value is None else self.size(name)

    def size_or_null(self, key: str, default: int | None) -> int | None:
        """A whole number above 0, None where it is null, `default` where it is absent."""
        return self.optional_size(key) if key in self._config else default

    def count(self, key: str, default: int, *, most: int = _MAX_SIZE) -> int:
        """A whole number from 0 to `most`."""
        value = self._config.get(key)
        return 0 if type(value) is int and value == 0 else self.size(key, default, most=most)

    def depth(self, key: str, default: int | None = None, *, also: str = "") -> int:
        """A number of layers."""
        return self.size(key, default, also=also, most=MAX_LAYERS)

    def flag(self, key: str, default: bool, *, also: str = "") -> bool:
        """True or false; null counts as false, as it does in transformers."""
        name, value = self._value(key, also)
        if value is None:
            return default and name not in self._config
        if not isinstance(value, bool):
            self.refuse(name, f"{_shown(value)} is neither true nor false.")
            return default
        return value

    def dropout(self, key: str, default: float = 0.0) -> float:
        """A probability from 0 to less than 1."""
        value = self._config.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            self.refuse(key, f"{_shown(value)} is not a probability below 1.", f'"{key}": 0.0')
            return default
        return float(value)

    def ratio(self, key: str, default: float, *, least: float, most: float) -> float:
        """A number from `least` to `most`."""
        value = self._config.get(key)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            self.refuse(key, f"{_shown(value)} is not a number from {least} to {most}.")
            return default
        return float(value)

    def choice(self, key: str, default: str, choices: Mapping[str, Choice]) -> Choice:
        """What the text at `key` stands for."""
        value = self._config.get(key, default)
        if not isinstance(value, str) or value not in choices:
            known = ", ".join(f'"{choice}"' for choice in choices)
            self.refuse(key, f"{_shown(value)} is not known.", f"one of {known}")
            return choices[default]
        return choices[value]

    def side(self, key: str, default: int) -> int:
        """A size in pixels: a number, or two equal ones."""
        value = self._config.get(key)
        if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
            return Fields({key: value[0]}, table=self._table, problems=self._problems).size(key)
        return self.size(key, default)

    def numbers(self, key: str) -> frozenset[int]:
        """A list of whole numbers; empty where it is absent or null."""
        value = self._config.get(key)
        if value is None:
            return frozenset()
        if not isinstance(value, list | tuple) or any(type(part) is not int for part in value):
            self.refuse(key, f"{_shown(value)} is not a list of whole numbers.", f'"{key}": []')
            return frozenset()
        return frozenset(value)

    def texts(self, key: str, length: int) -> tuple[str, ...] | None:
        """A list of `length` texts; None where it is absent or null."""
        value = self._config.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or any(not isinstance(part, str) for part in value):
            self.refuse(key, f"{_shown(value)} is not a list of texts.")
            return None
        if len(value) != length:
            self.refuse(key, f"names {len(value)} layers where the model has {length}.")
            return None
        return tuple(value)

    def text(self, key: str, default: str) -> str:
        """Any text."""
        value = self._config.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, f"{_shown(value)} is not text.")
            return default
        return value

    def table(self, key: str) -> "Fields":
        """The table at `key`, empty where it is absent; its problems are collected here."""
        value = self._config.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(key, f"{_shown(value)} is not a table.")
            value = None
        return Fields(value or {}, table=self._name(key), problems=self._problems)

    def part(self, whole: int, parts: int, *, of: str, by: str) -> int:
        """`whole` divided by `parts`, which are the values of the keys `of` and `by`."""
        if isinstance(whole, _Unread) or isinstance(parts, _Unread):
            return 1
        if whole % parts:
            self.refuse(
                of,
                f"{whole} is not a multiple of {self._name(by)}, which is {parts}.",
                "compare both with the config.json that the model was published with",
            )
        return max(1, whole // parts)

    def equal(self, value: int, other: int, *, key: str, what: str) -> None:
        """Both are the same, as far as they could be read."""
        is_read = not isinstance(value, _Unread) and not isinstance(other, _Unread)
        if is_read and value != other:
            self.refuse(key, f"{_shown(value)} is not {what}, {_shown(other)}.")

    def refuse(self, key: str, reason: str, example: str = "") -> None:
        """Collects a problem at `key`."""
        self._problems.append(Problem(key=self._name(key), reason=reason, example=example))

    def _name(self, key: str) -> str:
        return f"{self._table}.{key}" if self._table else key

    def _value(self, key: str, also: str) -> tuple[str, Any]:
        """The name that the key goes by here, and its value."""
        if also and self._config.get(key) is None and self._config.get(also) is not None:
            key = also
        return key, self._config.get(key)


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        # A number with too many digits, or no JSON at all.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"

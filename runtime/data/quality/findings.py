"""Hints at personal data and secrets in texts, never shown in full."""

import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Group = Literal["personal", "secret"]


@dataclass(frozen=True)
class Hint:
    """Something in a text that looks like `kind`; `shown` is masked."""

    kind: str
    group: Group
    shown: str


@dataclass(frozen=True)
class Pattern:
    """What a kind of hint looks like."""

    kind: str
    group: Group
    regex: re.Pattern[str]
    needs: str
    """A text without this is not searched."""
    is_valid: Callable[[str], bool]


def find_hints(text: str) -> Iterator[Hint]:
    """What looks like personal data or a secret, kind by kind; nothing twice."""
    for pattern in patterns():
        if pattern.needs not in text:
            continue
        found = (match[0] for match in pattern.regex.finditer(text))
        for value in dict.fromkeys(value for value in found if pattern.is_valid(value)):
            yield Hint(pattern.kind, pattern.group, mask(value))


def mask(value: str) -> str:
    """Enough to find it again in the file, and too little to use it."""
    flat = " ".join(value.split())
    kept = min(4, len(flat) // 5)
    return f"{flat[:kept]}…{flat[-kept:] if kept > 1 else ''} ({len(flat)} characters)"


@cache
def patterns() -> tuple[Pattern, ...]:
    """The patterns of patterns.toml."""
    text = Path(__file__).with_name("patterns.toml").read_text(encoding="utf-8")
    return tuple(
        Pattern(
            kind=entry["kind"],
            group=entry["group"],
            # ASCII, so that a word ends where Chinese begins.
            regex=re.compile(entry["regex"], re.ASCII),
            needs=entry.get("needs", ""),
            is_valid=_CHECKS[entry.get("check", "none")],
        )
        for entry in tomllib.loads(text)["pattern"]
    )


def _luhn(value: str) -> bool:
    """ISO/IEC 7812-1: of card numbers every second digit from the right is doubled."""
    digits = [int(character) for character in value if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def _iban(value: str) -> bool:
    """ISO 13616: letters count from 10, and the number modulo 97 is 1."""
    compact = "".join(value.split())
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _public_address(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


def _real_domain(value: str) -> bool:
    """RFC 2606 reserves some names for examples, which hurt nobody."""
    return not value.lower().endswith(
        ("example.com", "example.org", "example.net", ".example", ".test", ".invalid")
    )


_CHECKS: dict[str, Callable[[str], bool]] = {
    "none": lambda _: True,
    "luhn": _luhn,
    "iban": _iban,
    "address": _public_address,
    "domain": _real_domain,
}

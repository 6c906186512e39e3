"""Numbers as people write them: "0.7B" tokens, "2GB", and back."""

import re
from typing import Annotated

from annotated_types import Gt, Le
from pydantic import BeforeValidator, Field, PositiveInt

_COUNT_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_BYTE_SUFFIXES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_NUMBER = re.compile(r"\s*([0-9][0-9_]{0,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)\s*")


def parse_count(value: object) -> object:
    """`"0.7B"` or `700_000_000` as an integer; anything else is left for pydantic to refuse."""
    return _scaled(value, {**_COUNT_SUFFIXES, **{k.lower(): v for k, v in _COUNT_SUFFIXES.items()}})


def parse_bytes(value: object) -> object:
    """`"2GB"` (10⁹ each) or `"2GiB"` (2³⁰ each) in bytes; anything else is left for pydantic."""
    return _scaled(value, _BYTE_SUFFIXES)


def _scaled(value: object, suffixes: dict[str, int]) -> object:
    if not isinstance(value, str) or not (match := _NUMBER.fullmatch(value)):
        return value
    number, suffix = match.groups()
    if suffix not in suffixes:
        return value
    whole, _, fraction = number.replace("_", "").partition(".")
    digits = int(whole + fraction) * suffixes[suffix]
    scaled, rest = divmod(digits, 10 ** len(fraction))
    return value if rest else scaled


def format_count(value: float) -> str:
    """A count in at most four characters and a suffix, as in `5.31M`."""
    for suffix in ("T", "B", "M", "K"):
        if abs(value) >= _COUNT_SUFFIXES[suffix]:
            return f"{value / _COUNT_SUFFIXES[suffix]:.3g}{suffix}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_gib(num_bytes: float) -> str:
    """Memory in GiB (2³⁰ bytes)."""
    return f"{num_bytes / 2**30:.2f} GiB"


def format_duration(seconds: float) -> str:
    """A duration as `1.3 s`, `4 min 05 s` or `2 h 03 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_span(seconds: float) -> str:
    """A duration in one unit, for tables: `12 s`, `48 min`, `5.7 h`, `3.2 d`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


_CountText = Annotated[str, Field(pattern=r"^[0-9][0-9_]*(\.[0-9]+)? *[KMBTkmbt]?$")]
_BytesText = Annotated[str, Field(pattern=r"^[0-9][0-9_]*(\.[0-9]+)? *([KMGT]i?)?B$")]

MAX_INTEGER = 2**63 - 1
"""The largest whole number of TOML."""

TokenCount = Annotated[
    int,
    Gt(0),
    Le(MAX_INTEGER),
    BeforeValidator(parse_count, json_schema_input_type=PositiveInt | _CountText),
]
ByteCount = Annotated[
    int,
    Gt(0),
    Le(MAX_INTEGER),
    BeforeValidator(parse_bytes, json_schema_input_type=PositiveInt | _BytesText),
]

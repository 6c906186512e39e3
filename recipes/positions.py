"""On which line of a TOML text each key stands; the TOML libraries do not tell."""

import re
from collections import Counter

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")
_MULTILINE = re.compile(r'"""|\'\'\'')


def key_lines(text: str) -> dict[str, int]:
    """Dotted key (array tables numbered, as in `data.train.0.path`) to its line, from 1."""
    lines: dict[str, int] = {}
    table = ""
    array_sizes: Counter[str] = Counter()
    open_string = ""
    for number, line in enumerate(text.splitlines(), start=1):
        was_open = open_string
        for quote in _MULTILINE.findall(line):
            if not open_string:
                open_string = quote
            elif quote == open_string:
                open_string = ""
        if was_open:
            continue
        if header := _HEADER.match(line):
            table = _unquoted(header[2])
            if header[1] == "[[":
                array_sizes[table] += 1
            table = _numbered(table, array_sizes)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            name = _unquoted(key[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def line_of(key: str, lines: dict[str, int]) -> int | None:
    """The line of a dotted key, else of the nearest table around it."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None


def _unquoted(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _numbered(table: str, array_sizes: Counter[str]) -> str:
    """`data.train` becomes `data.train.1` inside the second `[[data.train]]`."""
    numbered = path = ""
    for part in table.split("."):
        path = f"{path}.{part}" if path else part
        numbered = f"{numbered}.{part}" if numbered else part
        if path in array_sizes:
            numbered += f".{array_sizes[path] - 1}"
    return numbered

"""On which line of a TOML text each key stands; the TOML libraries do not tell."""

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from fsft.recipes.keys import join_key, split_key

_TOKEN = re.compile(
    r"""
    [ \t\r]+ | \#[^\n]*                                          # says nothing
    | (?P<token>
        \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5}         # text over several lines
        | " (?:\\.|[^"\\])* " | '[^']*'
        | [^\s\[\]{}=,\#"']+                                     # a bare key, a number, a date
        | [\[\]{}=,\n]
    )
    """,
    re.VERBOSE | re.DOTALL,
)

_Path = tuple[str | int, ...]


class _Token(NamedTuple):
    text: str
    line: int


def key_lines(text: str) -> dict[str, int]:
    """Dotted key (rows numbered, as in `data.train.0.path`) to its line, from 1.

    `text` is valid TOML. A table that has no header of its own stands where its first key does.
    """
    tokens = deque(_tokens(text))
    lines: dict[_Path, int] = {}
    num_rows: Counter[_Path] = Counter()
    table: _Path = ()
    while tokens:
        if tokens[0].text == "\n":
            tokens.popleft()
        elif tokens[0].text == "[":
            table = _take_header(tokens, num_rows, lines)
        else:
            _take_pair(tokens, table, lines)
    implied: dict[_Path, int] = {}
    for path, line in lines.items():
        for length in range(1, len(path)):
            implied.setdefault(path[:length], line)
    return {join_key(path): line for path, line in {**implied, **lines}.items()}


def line_of(key: str, lines: dict[str, int]) -> int | None:
    """The line of a dotted key, else of the nearest table around it."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["token"]:
            yield _Token(match["token"], line)
        line += match[0].count("\n")


def _take_header(tokens: deque[_Token], num_rows: Counter[_Path], lines: dict[_Path, int]) -> _Path:
    """`data.train` becomes `data.train.1` at the second `[[data.train]]` and in what is in it."""
    line = tokens.popleft().line
    is_row = tokens[0].text == "["
    if is_row:
        tokens.popleft()
    names = _take_key(tokens, end="]")
    if is_row:
        tokens.popleft()
        num_rows[names] += 1
    path: _Path = ()
    for length, name in enumerate(names, start=1):
        path = (*path, name)
        if rows := num_rows[names[:length]]:
            path = (*path, rows - 1)
    lines[path] = line
    return path


def _take_pair(tokens: deque[_Token], table: _Path, lines: dict[_Path, int]) -> None:
    line = tokens[0].line
    path = table + _take_key(tokens, end="=")
    lines[path] = line
    _take_value(tokens, path, lines)


def _take_key(tokens: deque[_Token], *, end: str) -> _Path:
    text = ""
    while (token := tokens.popleft().text) != end:
        text += token
    return tuple(split_key(text))


def _take_value(tokens: deque[_Token], path: _Path, lines: dict[_Path, int]) -> None:
    if tokens[0].text == "[":
        _take_array(tokens, path, lines)
    elif tokens[0].text == "{":
        tokens.popleft()
        while tokens[0].text != "}":
            if tokens[0].text in {",", "\n"}:
                tokens.popleft()
            else:
                _take_pair(tokens, path, lines)
        tokens.popleft()
    else:
        while tokens and tokens[0].text not in {",", "]", "}", "\n"}:
            tokens.popleft()


def _take_array(tokens: deque[_Token], path: _Path, lines: dict[_Path, int]) -> None:
    tokens.popleft()
    index = 0
    while tokens[0].text != "]":
        if tokens[0].text == ",":
            index += 1
        if tokens[0].text in {",", "\n"}:
            tokens.popleft()
        else:
            lines[(*path, index)] = tokens[0].line
            _take_value(tokens, (*path, index), lines)
    tokens.popleft()

"""Rows of json and jsonl, with what Python's own decoder lets pass and training must not."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from fsft.runtime.data.files import DataFile
from fsft.runtime.data.lines import LINE_LIMIT, TOO_LONG, is_torn, read_lines
from fsft.runtime.data.row import BadContent, Row

NO_LIST = "a json file must hold one list of rows, or a row a line"
_BOM = b"\xef\xbb\xbf"
_CHUNK = 1024**2
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_DIGITS = 4300
"""Of a whole number; longer ones are refused by Python itself."""
_LONGEST_WORD = 16
"""Characters of the longest piece of JSON that is decoded as one, such as an escaped pair."""


def read_jsonl(
    file: DataFile, stream: BinaryIO, start: int = 0, stop: int | None = None
) -> Iterator[Row]:
    """The rows of the lines that begin in bytes [start, stop); blank lines are none.

    A line that was half written when the file was found, and has grown since, is none either.
    """
    decoder = _Decoder()
    lines = read_lines(stream, start, stop, file.end)
    for number, line in enumerate(lines, start=1):
        if line is None:
            yield Row(file.path, number, error=TOO_LONG)
        elif line.strip():
            row = decoder.row(file.path, number, line)
            if not (row.error and is_torn(file, stream, line)):
                yield row


def read_json(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    """The rows of one list, read bit by bit; or of lines, as Spark calls its json files."""
    head = cast("io.BufferedReader", stream).peek().removeprefix(_BOM).lstrip()
    if not head.startswith(b"{"):
        yield from _rows_of_list(file, stream)
    elif _is_one_object(head):
        raise BadContent(NO_LIST)
    else:
        yield from read_jsonl(file, stream)


def parse_line(file: str, number: int, line: bytes) -> Row:
    """The row that a line of jsonl holds."""
    return _Decoder().row(file, number, line)


class _Decoder:
    """Decodes JSON and remembers what was wrong with values that it could still decode."""

    def __init__(self) -> None:
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_int=self._int)
        self._troubles: list[str] = []

    def row(self, file: str, number: int, line: bytes) -> Row:
        try:
            text = line.removeprefix(_BOM).decode()
        except UnicodeDecodeError:
            return Row(file, number, error="is not UTF-8 text")
        try:
            value, end = self.value(text, _after_space(text, 0))
            if (end := _after_space(text, end)) != len(text):
                raise json.JSONDecodeError("Extra data", text, end)
        except RecursionError:
            return Row(file, number, error="is nested too deeply")
        except json.JSONDecodeError as error:
            if "\0" in text:
                return Row(file, number, error="is not valid JSON: it holds NUL bytes")
            return Row(
                file, number, error=f"is not valid JSON: {error.msg} at column {error.colno}"
            )
        return Row(file, number, value, self.trouble(text, 0, len(text), value))

    def value(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at `start`, and where it ends."""
        self._troubles.clear()
        return self._json.raw_decode(text, start)

    def trouble(self, text: str, start: int, end: int, value: Any) -> str:
        """What is wrong with the value decoded last from text[start:end]; empty if nothing."""
        if self._troubles:
            return self._troubles[0]
        if _SURROGATE.search(text, start, end):
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                return r"holds half of a character (a lone \ud800 to \udfff)"
        return ""

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            self._troubles.append(f"has the key {twice!r} twice")
        return found

    def _int(self, digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            self._troubles.append(f"holds a number of {len(digits)} digits")
            return 0
        return int(digits)


def _rows_of_list(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    text, decoder = _Text(stream), _Decoder()
    if text.peek() != "[":
        raise BadContent(NO_LIST)
    text.position += 1
    number = 0
    while text.peek() != "]":
        number += 1
        if number > 1:
            if text.peek() != ",":
                raise BadContent(f"is not valid JSON: {text.place()} needs a comma", number)
            text.position += 1
        value, trouble = text.value(decoder, number)
        yield Row(file.path, number, None if trouble else value, trouble)
    text.position += 1
    if text.peek():
        raise BadContent(f"is not valid JSON: something follows the list at {text.place()}")


class _Text:
    """A window of decoded text that moves through a stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self.position = 0
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text = ""
        self._lines_before = 0
        self._is_all = False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self.position = _after_space(self._text, self.position)
            if self.position < len(self._text):
                return self._text[self.position]
            if self._is_all:
                return ""
            self._read_on()

    def value(self, decoder: _Decoder, number: int) -> tuple[Any, str]:
        """The next value, and what is wrong with it. Raises BadContent where none can be found."""
        self.peek()
        while True:
            try:
                value, end = decoder.value(self._text, self.position)
            except RecursionError:
                raise BadContent("is nested too deeply", number) from None
            except json.JSONDecodeError as error:
                if self._is_all or self._is_broken(error):
                    reason = f"is not valid JSON: {error.msg} at {self.place(error.pos)}"
                    raise BadContent(reason, number) from None
            else:
                # A number may go on in what is not read yet, and the end must be seen to be one.
                if end < len(self._text) or self._is_all:
                    trouble = decoder.trouble(self._text, self.position, end, value)
                    self.position = end
                    return value, trouble
            if len(self._text) - self.position > LINE_LIMIT:
                raise BadContent(TOO_LONG, number)
            self._read_on()

    def _is_broken(self, error: json.JSONDecodeError) -> bool:
        """Whether more text would not help: what is only cut off fails near the end."""
        is_cut = error.msg.startswith("Unterminated") or len(self._text) - error.pos < _LONGEST_WORD
        return not is_cut

    def place(self, position: int | None = None) -> str:
        """A position for messages: the present one by default."""
        position = self.position if position is None else position
        return f"line {self._lines_before + self._text.count(chr(10), 0, position) + 1}"

    def _read_on(self) -> None:
        self._lines_before += self._text.count("\n", 0, self.position)
        kept = self._text[self.position :]
        # As much again as is kept, or a long value would be decoded from its start too often.
        data = self._stream.read(max(_CHUNK, len(kept)))
        self._is_all = not data
        try:
            self._text = kept + self._decode(data, self._is_all)
        except UnicodeDecodeError:
            raise BadContent(f"is not UTF-8 text, after {self.place()}") from None
        self.position = 0


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _is_one_object(head: bytes) -> bool:
    """Whether a file that begins with an object is that alone, over several lines."""
    line, newline, _ = head.partition(b"\n")
    return bool(newline) and line.rstrip().endswith((b"{", b"[", b",", b":"))

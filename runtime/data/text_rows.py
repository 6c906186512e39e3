"""Rows of csv and tsv, and blocks of text between blank lines."""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from fsft.runtime.data.files import DataFile
from fsft.runtime.data.lines import LINE_LIMIT, TOO_LONG, is_torn, read_lines
from fsft.runtime.data.row import BadContent, Row

NOT_UTF8 = "is not UTF-8 text"
HOLDS_NUL = "holds NUL bytes, which text has not"
FIELD_LIMIT = LINE_LIMIT // 4
"""Characters of the longest field of csv: Python's reader holds one in 4 bytes a character."""
_BOM = b"\xef\xbb\xbf"


def read_csv(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    """Rows as objects of text, with the names of the first line; tabs part the fields of tsv.

    Raises BadContent where the first line does not name the fields.
    """
    # Of the whole process, but the same for all that reads csv there.
    csv.field_size_limit(FIELD_LIMIT)
    lines = _CsvLines(file, stream)
    reader = csv.reader(lines, delimiter="\t" if file.kind == "tsv" else ",", strict=True)
    names: list[str] = []
    while True:
        number, lines.trouble = reader.line_num + 1, ""
        try:
            fields = next(reader, None)
        except csv.Error as error:
            fields = []
            lines.trouble = lines.trouble or f"is not valid {file.kind}: {error}"
        if fields is None:
            return
        if not names and (fields or lines.trouble):
            names = _names(fields, lines.trouble, number)
        elif lines.trouble:
            yield Row(file.path, number, error=lines.trouble)
        elif fields and len(fields) != len(names):
            reason = f"has {len(fields)} fields where the first line names {len(names)}"
            yield Row(file.path, number, error=reason)
        elif fields:
            yield Row(file.path, number, dict(zip(names, fields, strict=True)))


def read_txt(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    """Rows {"text": …}: what stands between blank lines; lines end in a newline alone."""
    return _blocks(file, stream, "text")


def read_m2(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    """Rows {"m2": …}: a sentence with its edits, as it stands in the file."""
    return _blocks(file, stream, "m2")


class _CsvLines:
    """Lines for Python's csv reader, which must not end at one that cannot be read."""

    def __init__(self, file: DataFile, stream: BinaryIO) -> None:
        self.trouble = ""
        self._lines = read_lines(stream, end=file.end)
        self._file = file
        self._stream = stream
        self._is_first = True

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line is None:
            self.trouble = TOO_LONG
            return "\n"
        if is_torn(self._file, self._stream, line):
            raise StopIteration
        if self._is_first:
            self._is_first, line = False, line.removeprefix(_BOM)
        if b"\0" in line:
            self.trouble = HOLDS_NUL
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.trouble = NOT_UTF8
            return line.decode(errors="replace")


def _names(fields: list[str], trouble: str, number: int) -> list[str]:
    if not trouble and len(set(fields)) != len(fields):
        twice = next(name for name in fields if fields.count(name) > 1)
        trouble = f"names the field {twice!r} twice"
    if trouble:
        raise BadContent(f"the line that names the fields {trouble}", number)
    return fields


def _blocks(file: DataFile, stream: BinaryIO, key: str) -> Iterator[Row]:
    block = _Block()
    for number, line in enumerate(read_lines(stream, end=file.end), start=1):
        if line is None or (line.strip() and not is_torn(file, stream, line)):
            block.add(number, line)
        elif block.first:
            yield block.row(file.path, key)
            block = _Block()
    if block.first:
        yield block.row(file.path, key)


class _Block:
    """Lines that belong together, as many as may be held."""

    def __init__(self) -> None:
        self.first = 0
        """The number of its first line; 0 while there is none."""
        self._data = bytearray()
        self._is_too_long = False

    def add(self, number: int, line: bytes | None) -> None:
        self.first = self.first or number
        if line is None or len(self._data) + len(line) > LINE_LIMIT:
            self._is_too_long = True
            self._data.clear()
        elif not self._is_too_long:
            self._data += line

    def row(self, path: str, key: str) -> Row:
        if self._is_too_long:
            return Row(path, self.first, error=TOO_LONG)
        data = self._data.removeprefix(_BOM)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            return Row(path, self.first + data.count(b"\n", 0, error.start), error=NOT_UTF8)
        if "\0" in text:
            return Row(path, self.first + text.count("\n", 0, text.index("\0")), error=HOLDS_NUL)
        return Row(path, self.first, {key: text.replace("\r\n", "\n").rstrip("\n")})

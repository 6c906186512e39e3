"""One row of a data file with its place, and why a row or a file cannot be read."""

from typing import Any, NamedTuple

from fsft.recipes.problems import Problem


class Row(NamedTuple):
    """One row: its value, or the reason why it cannot be read.

    A named tuple because millions are made, and it is made in a quarter of a data class's time.
    """

    file: str
    line: int
    """From 1: the line where it begins in jsonl, csv, tsv, txt and m2 (counted from the start of
    the part where that is a range of a file, see `lines_before`), else the number of the row. 0 is
    the file as a whole, or all of it that follows."""
    value: Any = None
    error: str = ""
    """Without a full stop; empty where the row could be read."""

    def problem(self, reason: str = "", lines_before: int = 0) -> Problem:
        """What is wrong with it: its own error, or what the reader of its value says."""
        line = self.line + lines_before if self.line else None
        return Problem(file=self.file, line=line, reason=f"{reason or self.error}.")


class BadContent(Exception):
    """What a file holds ends its reading: the rest of it, from `line` on, is lost.

    Becomes a row with an error, so that `data.on_error` decides what follows.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        self.reason = reason
        self.line = line
        super().__init__(reason)

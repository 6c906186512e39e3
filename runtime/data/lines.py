"""Lines of any length, without ever holding more of one than a limit."""

from collections.abc import Iterator
from typing import BinaryIO

from fsft.runtime.data.files import DataFile

LINE_LIMIT = 64 * 1024**2
"""Bytes of the longest line, row or block that is read."""
TOO_LONG = f"is longer than {LINE_LIMIT // 1024**2} MiB"


def read_lines(
    stream: BinaryIO, start: int = 0, stop: int | None = None, end: int | None = None
) -> Iterator[bytes | None]:
    """The lines that begin in bytes [start, stop), each with its newline; None for one too long.

    Nothing beyond `end` is read: a line that goes on there is cut. The stream must stand at its
    beginning.
    """
    position = start
    if stop is None:
        stop = end
    if start:
        stream.seek(start - 1)
        position += _skip_line(stream) - 1
    while stop is None or position < stop:
        most = LINE_LIMIT + 1 if end is None else min(LINE_LIMIT + 1, end - position)
        line = stream.readline(most)
        if not line:
            return
        position += len(line)
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            del line
            position += _skip_line(stream)
            yield None
        else:
            yield line


def is_torn(file: DataFile, stream: BinaryIO, line: bytes) -> bool:
    """Whether a line just read was half written when the file was found, and has grown since."""
    return file.end is not None and not line.endswith(b"\n") and bool(stream.read(1))


def _skip_line(stream: BinaryIO) -> int:
    """Pass over the rest of a line; the number of its bytes."""
    skipped = 0
    while piece := stream.readline(1024**2):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped

"""The bytes of a data file, wherever it lies and however it is compressed."""

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from fsft.recipes.data_files import Compression
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.files import DataFile
from fsft.runtime.data.row import BadContent

BOMB_RATIO = 500
"""Bytes out for a byte in that make a file a bomb; gzip can do 1000, text hardly 100."""
BOMB_FLOOR = 256 * 1024**2
"""Bytes that any file may expand to."""
_BUFFER = 1024**2


def open_raw(file: DataFile) -> BinaryIO:
    """The bytes as they are stored, unbuffered. Raises OSError, or Refused for a remote file."""
    if file.is_remote:
        from fsft.runtime.data.remote import RemoteFile

        return cast("BinaryIO", RemoteFile(file.path))
    return cast("BinaryIO", Path(file.path).open("rb", buffering=0))


def open_stream(file: DataFile) -> BinaryIO:
    """The text of a file, decompressed while it is read.

    Reading raises BadContent where the compressed bytes are broken, and Refused for a bomb.
    """
    raw: Any = io.BufferedReader(cast("io.RawIOBase", open_raw(file)), _BUFFER)
    if file.compression:
        raw = io.BufferedReader(_Decompressed(raw, file), _BUFFER)
    return cast("BinaryIO", raw)


def stored_bytes(file: DataFile, stream: BinaryIO) -> int:
    """How many bytes of an open file, as stored, were read to get where it stands."""
    if not file.compression:
        return stream.tell()
    buffered = cast("io.BufferedReader[_Decompressed]", stream)
    return buffered.raw.stored_bytes(len(buffered.peek()))


class _Decompressed(io.RawIOBase):
    def __init__(self, raw: "io.BufferedReader[Any]", file: DataFile) -> None:
        self._raw = raw
        self._file = file
        self._inner = _decompressor(raw, file.compression)
        self._expanded = 0

    def readinto(self, buffer: Any) -> int:
        try:
            # What comes before the place where the bytes are broken is kept.
            data = self._inner.read1(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            # What the disk or the network says has a number; what decompressors say has none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise BadContent(f"the {self._file.compression} data is broken: {error}") from None
        if not data and not self._raw.tell():
            raise BadContent("the file is empty")
        self._expanded += len(data)
        if self._expanded > max(BOMB_FLOOR, BOMB_RATIO * self._raw.tell()):
            raise Refused(
                Problem(
                    file=self._file.path,
                    reason=f"expands to more than {BOMB_RATIO} times its size, as no text does.",
                    example="decompress it by hand if it is meant",
                )
            )
        buffer[: len(data)] = data
        return len(data)

    def stored_bytes(self, ahead: int) -> int:
        """Bytes as stored before the last `ahead` ones that were expanded."""
        return round(self._raw.tell() * (self._expanded - ahead) / max(1, self._expanded))

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._inner.close()
        self._raw.close()
        super().close()


def _decompressor(raw: "io.BufferedReader[Any]", compression: Compression) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if compression == "bz2":
        return bz2.BZ2File(raw)
    if compression == "xz":
        return lzma.LZMAFile(raw)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")

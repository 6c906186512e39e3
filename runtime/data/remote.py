"""Files that lie elsewhere, through fsspec: s3://, gs://, hdfs://, https:// and whatever it knows.

Keys, endpoints and other settings are fsspec's own: its configuration files, environment variables
such as FSSPEC_S3_ENDPOINT_URL, and what each backend reads by itself.
"""

import errno
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from fsft.recipes.data_files import is_passed_over, is_web, read_name
from fsft.recipes.problems import Problem, Refused, missing_package

if TYPE_CHECKING:
    from fsft.runtime.data.files import DataFile

_HASH_KEYS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "crc32c")
_TIME_KEYS = (
    *("Last-Modified", "LastModified", "last_modified", "mtime"),
    *("modificationTime", "updated", "modified", "created"),
)


def find_remote(url: str) -> tuple[list["DataFile"], bool]:
    """The files of a URL, and whether it is a folder of them; its empty text files are left out.

    Raises Refused where there are none, they cannot be reached, or a backend is not installed.
    """
    with told(url):
        fs, path = _file_system(url)
        # A server of web pages takes any address for a folder of links.
        if read_name(url) and (is_web(url) or not fs.isdir(path)):
            return [_file(url, fs.info(path))], False
        # There, deeper means the whole of a web site.
        found = fs.find(path, maxdepth=1 if is_web(url) else None, detail=True)
        if not found and not fs.exists(path):
            raise Refused(Problem(file=url, reason="there is no such file or folder."))
        if list(found) == [path]:
            return [_file(url, found[path])], False
        files = []
        for name in sorted(name for name in found if _is_data(name, path)):
            # A list of links says neither size nor time.
            info = fs.info(name) if is_web(url) else found[name]
            file = _file(fs.unstrip_protocol(name), info)
            if info.get("size") != 0 or not file.is_plain_text:
                files.append(file)
    return files, True


def told_of(url: str) -> tuple[str, int] | tuple[()]:
    """What the storage says of the content of a file, and its size; nothing where it says nothing.

    Raises Refused where the file cannot be reached.
    """
    with told(url):
        fs, path = _file_system(url)
        info = fs.info(path)
    version = _version(info)
    return (version, info.get("size") or 0) if version else ()


class RemoteFile(io.RawIOBase):
    """A file that lies elsewhere; whatever goes wrong there is an OSError here."""

    def __init__(self, url: str) -> None:
        with told(url):
            fs, path = _file_system(url)
            self._file: Any = fs.open(path, "rb")

    def readinto(self, buffer: Any) -> int:
        with _as_os_error():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        with _as_os_error():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn whatever a backend raises into a Refused that names the URL."""
    try:
        yield
    except Refused:
        raise
    except ImportError as error:
        if error.name == "fsspec":
            raise missing_package(ModuleNotFoundError(name="fsspec")) from None
        reason = f"reading {url.split('://', maxsplit=1)[0]}:// needs a package: {error}."
        raise Refused(Problem(file=url, reason=reason, example=_what_to_install(url))) from None
    except FileNotFoundError as error:
        # Of a web address, fsspec says so whatever went wrong.
        if is_web(url) and not isinstance(error.__cause__, FileNotFoundError | None):
            reason = f"cannot be reached: {_first_line(error.__cause__)}."
            raise Refused(Problem(file=url, reason=reason)) from error
        raise Refused(Problem(file=url, reason="there is no such file or folder.")) from None
    # Each backend raises exceptions of its own.
    except Exception as error:
        reason = f"cannot be reached: {_first_line(error)}."
        raise Refused(Problem(file=url, reason=reason)) from error


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise OSError(errno.EIO, _first_line(error)) from error


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(url)
    return fs, str(path)


def _file(url: str, info: Mapping[str, Any]) -> "DataFile":
    from fsft.runtime.data.files import make_file

    return make_file(url, info.get("size") or 0, _version(info))


def _is_data(name: str, folder: str) -> bool:
    inside = name.removeprefix(folder).strip("/")
    parts = PurePosixPath(inside).parts
    return read_name(name) is not None and not any(map(is_passed_over, parts))


def _version(info: Mapping[str, Any]) -> str:
    """What tells one content from another: a hash if there is one, else the time of the change."""
    for keys in (_HASH_KEYS, _TIME_KEYS):
        if known := [f"{key}={info[key]}" for key in keys if info.get(key)]:
            return known[0]
    return ""


def _what_to_install(url: str) -> str:
    packages = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}
    packages |= {"az": "adlfs", "http": "aiohttp", "https": "aiohttp", "oss": "ossfs"}
    scheme = url.split("://", maxsplit=1)[0].lower()
    return f"pip install {packages[scheme]}" if scheme in packages else ""


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")

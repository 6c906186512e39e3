"""The files that a data source names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsft.recipes.data_files import (
    TEXT_KINDS,
    Compression,
    FileKind,
    is_hub_set,
    is_saved_set,
    is_url,
    known_endings,
    read_name,
)
from fsft.recipes.data_folder import data_below
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Source
from fsft.recipes.shipped import is_folder


@dataclass(frozen=True)
class DataFile:
    """One file, or one data set of the hub, as it was when it was found."""

    path: str
    """A local path, a URL, "hub:OWNER/NAME", or the folder of a saved data set."""
    kind: FileKind
    compression: Compression = ""
    size: int = 0
    """Bytes as stored; 0 where the server does not tell. What is appended later is not read."""
    version: str = ""
    """What the storage says about the content: an ETag, a time, a commit. Empty for local files."""
    subset: str = ""
    split: str = ""
    """Of a data set of the hub, or of a saved one that has several."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read through fsspec."""
        return is_url(self.path)

    @property
    def is_plain_text(self) -> bool:
        """Whether it is text as it is stored."""
        return self.kind in TEXT_KINDS and not self.compression

    @property
    def end(self) -> int | None:
        """Where reading stops in bytes, None at the end of the file."""
        return self.size if self.size and not self.compression else None


def find_files(source: Source) -> list[DataFile]:
    """The files that a source names, sorted by name; its paths must be resolved.

    Of a folder, hidden entries, marks such as _SUCCESS, files of other kinds and empty text files
    (Spark writes them) are passed over. Raises Refused where there is nothing to read.
    """
    if is_hub_set(source.path):
        from fsft.runtime.data.hub import find_set

        return [find_set(source.path, source.subset, source.split)]
    if is_url(source.path):
        from fsft.runtime.data.remote import find_remote

        found, in_folder = find_remote(source.path)
    else:
        path = Path(source.path)
        in_folder = is_folder(path)
        found = list(_local_files(path, source)) if in_folder else [local_file(path)]
    if in_folder:
        found = [file for file in found if file.size or file.is_remote or not file.is_plain_text]
    elif not found[0].size and not found[0].is_remote:
        raise Refused(Problem(file=source.path, reason="the file is empty."))
    if not found:
        raise Refused(
            Problem(
                file=source.path,
                reason="the folder holds no data file.",
                example=known_endings(),
            )
        )
    return found


def local_file(path: Path) -> DataFile:
    """A file of this machine. Raises Refused where there is none, or its kind is not known."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Refused(Problem(reason=f"{str(path)!a} has a name that is not UTF-8 text.")) from None
    try:
        if not path.is_file():
            reason = "is no regular file." if path.exists() else "there is no such file."
            raise Refused(Problem(file=str(path), reason=reason))
        size = path.stat().st_size
    except OSError as error:
        reason = f"cannot be read: {error.strerror}."
        raise Refused(Problem(file=str(path), reason=reason)) from None
    return make_file(str(path), size)


def make_file(path: str, size: int, version: str = "") -> DataFile:
    """A file of the kind that its name says. Raises Refused where that is not known."""
    says = read_name(path)
    if says is None:
        raise Refused(
            Problem(
                file=path,
                reason=f"`{Path(path).suffix}` is not a known kind of data file.",
                example=known_endings(),
            )
        )
    return DataFile(path, says.kind, says.compression, size, version)


def _local_files(folder: Path, source: Source) -> Iterator[DataFile]:
    try:
        for path in data_below(folder):
            if path.is_dir() and is_saved_set(path):
                yield _saved_set(path, source.split)
            else:
                yield local_file(path)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}."
        raise Refused(Problem(file=str(error.filename), reason=reason)) from None


def _saved_set(folder: Path, split: str) -> DataFile:
    files = [path for path in folder.rglob("*.arrow") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return DataFile(str(folder), "saved", size=size, split=split)

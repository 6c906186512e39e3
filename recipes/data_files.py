"""What the name of a data file says: its kind, how it is compressed, where it lies."""

import re
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

FileKind = Literal["json", "jsonl", "parquet", "csv", "tsv", "arrow", "txt", "m2", "saved", "hub"]
"""How the rows of a file are read: "saved" is a folder that `datasets.save_to_disk` wrote, "hub" a
data set of the Hugging Face hub; the others go by ending."""

Compression = Literal["", "gzip", "zstd", "bz2", "xz"]

HUB_PREFIX = "hub:"

KINDS: dict[str, FileKind] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
    ".txt": "txt",
    ".m2": "m2",
}
"""Kinds of data file, by ending."""

TEXT_KINDS: frozenset[FileKind] = frozenset(["json", "jsonl", "csv", "tsv", "txt", "m2"])
"""Kinds that are text, and may be compressed as a whole."""

COMPRESSIONS: dict[str, Compression] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
}
"""Compressions of text files, by the last ending."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HUB_NAME = re.compile(r"hub:[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", re.ASCII)


class NameSays(NamedTuple):
    """What the endings of a file's name say."""

    kind: FileKind
    compression: Compression


def read_name(name: str) -> NameSays | None:
    """The kind that the endings of a name or URL stand for; None when it is no data file's.

    The query of a web address is no part of its name.
    """
    if is_web(name):
        name = urlsplit(name).path
    path = Path(name.lower())
    compression = COMPRESSIONS.get(path.suffix, "")
    kind = KINDS.get(path.with_suffix("").suffix if compression else path.suffix)
    if kind is None or (compression and kind not in TEXT_KINDS):
        return None
    return NameSays(kind, compression)


def is_passed_over(name: str) -> bool:
    """Whether an entry of a folder is none of its data: hidden, or a mark such as _SUCCESS."""
    return name.startswith((".", "_"))


def is_saved_set(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote a folder. May raise OSError."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))


def is_url(path: str) -> bool:
    """Whether a path is a URL with a scheme, as s3://… is."""
    return _URL.match(path) is not None


def is_web(path: str) -> bool:
    """Whether a path is a web address."""
    return path.lower().startswith(("http://", "https://"))


def is_hub_set(path: str) -> bool:
    """Whether a path names a data set of the hub, well or not."""
    return path.startswith(HUB_PREFIX)


def is_hub_name(path: str) -> bool:
    """Whether a path is "hub:OWNER/NAME", or "hub:NAME" as the oldest sets are called.

    A commit, tag or branch may follow as @REVISION.
    """
    return _HUB_NAME.fullmatch(path) is not None


def hub_name(path: str) -> tuple[str, str]:
    """The name of a data set of the hub, and its revision; empty where the path names none."""
    name, _, revision = path.removeprefix(HUB_PREFIX).partition("@")
    return name, revision


def is_elsewhere(path: str) -> bool:
    """Whether a path is none on this machine's file system."""
    return is_url(path) or is_hub_set(path)


def known_endings() -> str:
    """The endings of data files, for messages."""
    return f"{', '.join(KINDS)}; text also with {', '.join(COMPRESSIONS)}"

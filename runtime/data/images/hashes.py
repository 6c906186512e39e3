"""The pictures that data was prepared with, by their content: another one behind a name is noticed.

    image_hashes.bin  for each image in the order of its first sample: 16 bytes of a hash of its
                      stamp, and the 32 of its SHA-256; zeros where it could not be read

The stamp of an image behind a URL is what its storage says of the content: an ETag, or a time.
Images in the data itself, as data: URLs, are not there.
"""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from fsft.recipes.fingerprint import file_sha256
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.run_files import IMAGE_HASHES
from fsft.recipes.schema import SPLITS, Data
from fsft.runtime.data.images.files import image_folder, is_inside_data, is_local
from fsft.runtime.data.images.stored import ImageNames
from fsft.runtime.data.remote import RemoteFile, told_of
from fsft.runtime.file_stamps import stamp_of

_STAMP_BYTES, _BYTES = 16, 48
_UNREAD = bytes(_BYTES)
READERS = 8
"""Threads that read images; hashing lets go of Python's lock."""
_TOGETHER = 4096


def write_image_hashes(folder: Path, data: Data) -> None:
    """Hash the images of the prepared data in `folder`; no file is left without any.

    Raises Refused where one behind a URL cannot be reached.
    """
    places = _places(folder, data)
    with (folder / IMAGE_HASHES).open("wb") as file, ThreadPoolExecutor(READERS) as pool:
        # A window at a time: millions of waiting tasks would fill memory.
        while window := list(islice(places, _TOGETHER)):
            file.write(b"".join(pool.map(_record, window)))
    if not (folder / IMAGE_HASHES).stat().st_size:
        (folder / IMAGE_HASHES).unlink()


def changed_images(folder: Path, data: Data) -> Iterator[Problem]:
    """What is wrong with images that are not as they were when `folder` was prepared.

    Asks for the stamp of each, and reads those alone that have another one. Hashes must be there.
    """
    places = _places(folder, data)
    with (folder / IMAGE_HASHES).open("rb") as file, ThreadPoolExecutor(READERS) as pool:
        while window := list(islice(places, _TOGETHER)):
            before = [file.read(_BYTES) for _ in window]
            yield from filter(None, pool.map(_change, window, before))


def _change(place: str, before: bytes) -> Problem | None:
    try:
        stamp = _stamp_hash(place)
        if stamp != _UNREAD[:_STAMP_BYTES] and stamp == before[:_STAMP_BYTES]:
            return None
        if _content_hash(place) == before[_STAMP_BYTES:]:
            return None
    except Refused as error:
        return error.problems[0]
    return Problem(
        file=place,
        reason="is not the image that the data was prepared with.",
        example="put that one back, or do all again with --from prepare",
    )


def _places(folder: Path, data: Data) -> Iterator[str]:
    """Where the images are, each once in a split."""
    for split in SPLITS:
        if (folder / split).is_dir():
            names = ImageNames(folder / split, [image_folder(s) for s in getattr(data, split)])
            yield from (place for place in names.distinct() if not is_inside_data(place))


def _record(place: str) -> bytes:
    return _stamp_hash(place) + _content_hash(place)


def _stamp_hash(place: str) -> bytes:
    """Zeros where the storage says nothing of the content, or there is no such file."""
    try:
        stamp = stamp_of(Path(place)) if is_local(place) else told_of(place)
    except OSError:
        stamp = ()
    if not stamp:
        return _UNREAD[:_STAMP_BYTES]
    return blake2b(repr(stamp).encode(), digest_size=_STAMP_BYTES).digest()


def _content_hash(place: str) -> bytes:
    """Zeros where there is no such file. Raises Refused where a URL cannot be reached."""
    try:
        if is_local(place):
            return bytes.fromhex(file_sha256(Path(place)))
        with io.BufferedReader(RemoteFile(place)) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        if is_local(place):
            return _UNREAD[_STAMP_BYTES:]
        raise Refused(Problem(file=place, reason=f"cannot be read: {error}.")) from None

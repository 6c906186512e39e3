"""The pictures that data was prepared with, by their content: another one behind a name is noticed.

    image_hashes.bin  for each image in the order of its first sample: 16 bytes of a hash of its
                      stamp, and the 32 of its SHA-256; zeros where it could not be read

Images that lie elsewhere, or in the data itself as data: URLs, are not there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from fsft.recipes.fingerprint import file_sha256
from fsft.recipes.problems import Problem
from fsft.recipes.run_files import IMAGE_HASHES
from fsft.recipes.schema import SPLITS, Data
from fsft.runtime.data.images.files import image_folder, is_local
from fsft.runtime.data.images.stored import ImageNames
from fsft.runtime.file_stamps import stamp_of

_STAMP_BYTES, _BYTES = 16, 48
_UNREAD = bytes(_BYTES)
READERS = 8
"""Threads that read images; hashing lets go of Python's lock."""
_TOGETHER = 4096


def write_image_hashes(folder: Path, data: Data) -> None:
    """Hash the local images of the prepared data in `folder`; no file is left without any."""
    places = _local_images(folder, data)
    with (folder / IMAGE_HASHES).open("wb") as file, ThreadPoolExecutor(READERS) as pool:
        # A window at a time: millions of waiting tasks would fill memory.
        while window := list(islice(places, _TOGETHER)):
            file.write(b"".join(pool.map(_record, map(Path, window))))
    if not (folder / IMAGE_HASHES).stat().st_size:
        (folder / IMAGE_HASHES).unlink()


def changed_images(folder: Path, data: Data) -> Iterator[Problem]:
    """What is wrong with images that are not as they were when `folder` was prepared.

    Looks at each file, and reads those alone whose stamp is another one. Hashes must be there.
    """
    with (folder / IMAGE_HASHES).open("rb") as file:
        for place in _local_images(folder, data):
            before = file.read(_BYTES)
            if _stamp_hash(Path(place)) == before[:_STAMP_BYTES]:
                continue
            if _record(Path(place))[_STAMP_BYTES:] != before[_STAMP_BYTES:]:
                yield Problem(
                    file=place,
                    reason="is not the image that the data was prepared with.",
                    example="put that one back, or do all again with --from prepare",
                )


def _local_images(folder: Path, data: Data) -> Iterator[str]:
    """Where the images on this machine are, each once in a split."""
    for split in SPLITS:
        if (folder / split).is_dir():
            names = ImageNames(folder / split, [image_folder(s) for s in getattr(data, split)])
            yield from filter(is_local, names.distinct())


def _record(path: Path) -> bytes:
    try:
        return _stamp_hash(path) + bytes.fromhex(file_sha256(path))
    except OSError:
        return _UNREAD


def _stamp_hash(path: Path) -> bytes:
    try:
        return blake2b(repr(stamp_of(path)).encode(), digest_size=_STAMP_BYTES).digest()
    except OSError:
        return _UNREAD[:_STAMP_BYTES]

"""Image files: where they are, how large, and what they show.

Every trouble with an image is a ValueError that names it.
"""

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fsft.recipes.data_files import is_url, read_name
from fsft.recipes.problems import Refused
from fsft.recipes.schema import Source

MOST_PIXELS = 178_956_970
"""Larger images are refused, as by Pillow: a small file may unfold to more than memory holds."""

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
"""Orientations of a camera that lies on its side."""
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def image_folder(source: Source) -> str:
    """The folder, or URL, that the image names of prepared samples are relative to."""
    if source.images is not None:
        return source.images
    if is_url(source.path):
        return source.path if read_name(source.path) is None else source.path.rpartition("/")[0]
    path = Path(source.path)
    return str(path if path.is_dir() else path.parent)


def from_folder(name: str, file: str, source: Source) -> str:
    """An image name in a file of the source, as seen from `image_folder`."""
    if source.images is not None or _is_whole(name):
        return name
    inside = file.rpartition("/")[0].removeprefix(image_folder(source)).strip("/")
    return f"{inside}/{name}" if inside else name


def places_of(names: Sequence[str], file: str, source: Source) -> tuple[str, ...]:
    """Where the images are that a row of a file of the source names."""
    folder = image_folder(source)
    return tuple(located(from_folder(name, file, source), folder) for name in names)


def located(name: str, folder: str) -> str:
    """Where an image is: a path, a URL, or the image itself as a data: URL."""
    if _is_whole(name):
        return name
    if is_url(folder):
        return f"{folder.rstrip('/')}/{name}"
    return str(Path(folder) / name)


def is_local(place: str) -> bool:
    """Whether an image is a file of this machine."""
    return not is_url(place) and not is_inside_data(place)


def is_inside_data(place: str) -> bool:
    """Whether an image is given in the data itself."""
    return place.startswith("data:")


def image_size(place: str) -> tuple[int, int]:
    """Width and height, in pixels, as the image is seen; reads little more than the header."""
    with _opened(place) as (image, file):
        # Looked at before any pixel is read, as in load_image: a PNG may tell more at its end.
        turned = _has_orientation(image) and image.getexif().get(_ORIENTATION) in _TURNED
        width, height = image.size
        _require_whole(image, file, place)
        return (height, width) if turned else (width, height)


def is_image(place: str) -> bool:
    """Whether there is an image that can be read."""
    try:
        image_size(place)
    except ValueError:
        return False
    return True


def load_image(place: str) -> Any:
    """The PIL image in RGB, the right side up."""
    from PIL import ImageOps

    with _opened(place) as (image, _):
        has_orientation = _has_orientation(image)
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(place, error) from None
        return (ImageOps.exif_transpose(image) if has_orientation else image).convert("RGB")


def short_name(place: str) -> str:
    """The name of an image, for people."""
    return "data:…" if is_inside_data(place) else place.rstrip("/").rpartition("/")[2]


@contextmanager
def _opened(place: str) -> Iterator[tuple[Any, BinaryIO]]:
    from PIL import Image

    try:
        file = _open(place)
    except Refused as error:
        raise ValueError(f"the image {_told(place)}: {error.problems[0].reason[:-1]}") from None
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from None
    with file:
        try:
            with warnings.catch_warnings():
                # Warned of from half of MOST_PIXELS on; what is too much is refused below.
                warnings.simplefilter("ignore")
                image = Image.open(file)
        except Image.DecompressionBombError:
            raise _too_large(place) from None
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(place, error) from None
        if not image.width or not image.height:
            raise ValueError(f"the image {_told(place)} has no pixels")
        if image.width * image.height > MOST_PIXELS:
            raise _too_large(place)
        yield image, file


def _open(place: str) -> BinaryIO:
    if is_inside_data(place):
        return io.BytesIO(base64.b64decode(place.partition(",")[2], validate=True))
    if is_url(place):
        from fsft.runtime.data.remote import RemoteFile

        return io.BufferedReader(RemoteFile(place))
    return Path(place).open("rb")


def _is_whole(name: str) -> bool:
    """Whether a name says all by itself."""
    return is_url(name) or name.startswith(("data:", "/"))


def _require_whole(image: Any, file: BinaryIO, place: str) -> None:
    """Raise ValueError where pixels are missing; they are read only if the end looks wrong."""
    if _ends_well(image.format, file):
        return
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(place, error) from None


def _ends_well(kind: str, file: BinaryIO) -> bool:
    """Whether a file ends as its format must; False for formats that do not say."""
    here = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    file.seek(max(0, size - 1024))
    tail = file.read()
    file.seek(here)
    if kind == "WEBP":
        return size >= int.from_bytes(head[4:8], "little") + 8
    return kind in _ENDS and _ENDS[kind] in tail


def _has_orientation(image: Any) -> bool:
    """Whether the header tells how to turn the image; one in TIFF is turned by Pillow itself."""
    return "exif" in image.info


def _unreadable(place: str, error: Exception) -> ValueError:
    reason = getattr(error, "strerror", None) or str(error).replace(f"'{place}'", "it")
    if type(error).__name__ == "UnidentifiedImageError":
        reason = "it is no image"
    return ValueError(f"the image {_told(place)} cannot be read: {reason}")


def _too_large(place: str) -> ValueError:
    return ValueError(f"the image {_told(place)} is gigantic: more than {MOST_PIXELS:,} pixels")


def _told(place: str) -> str:
    return "given as data:" if is_inside_data(place) else f"`{place}`"

"""Images beside text: the text says where, by <image>, and a list says which."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fsft.runtime.data.sample import IMAGE_TAG, Message
from fsft.runtime.data.shapes.fields import has, has_any, kind

_SOURCES = ("url", "path", "image", "image_url", "value")
_UNCLOSED = re.compile(r"<image(?!>|\w)")


def row_images(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The image names in the row's field images (or image); None where it has no such field."""
    name = next((name for name in ("images", "image") if has(row, name)), None)
    if name is None:
        return None
    value = row[name]
    if not isinstance(value, list | tuple):
        return (image_name(value, name),)
    return tuple(image_name(one, f"image {n}") for n, one in enumerate(value, 1))


def part_image(part: Mapping[str, Any], what: str) -> str:
    """The image that a part of a turn names; empty where the row's list of images names it."""
    if not has_any(part, _SOURCES):
        return ""
    return image_name(part, what)


def image_name(value: Any, what: str) -> str:
    """The file or URL of an image: text, or an object that holds it."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in _SOURCES if has(value, key)), None)
    if isinstance(value, Mapping):
        value = value.get("url")
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must be the name of an image file, not {kind(value)}")
    return value


def placed_images(
    messages: Iterable[Message], in_parts: Sequence[str], in_row: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The images of a dialogue: named in its parts (empty where not), or by the row.

    Raises ValueError unless the turns hold one <image> for each.
    """
    if in_row is None and not in_parts:
        return ()
    images = tuple(in_parts) if any(in_parts) else in_row or ()
    if "" in images:
        raise ValueError("some images are named in the turns, and others are not")
    _require_matching(messages, images)
    return images


def _require_matching(messages: Iterable[Message], images: tuple[str, ...]) -> None:
    """Raise ValueError unless the turns hold one <image> for each image."""
    number = 0
    for turn, message in enumerate(messages, start=1):
        content = message["content"]
        if _UNCLOSED.search(content):
            raise ValueError(f"turn {turn} has an image tag that is not closed: write {IMAGE_TAG}")
        number += content.count(IMAGE_TAG)
    if number != len(images):
        raise ValueError(
            f"the text refers to images {number} times by {IMAGE_TAG}, and {len(images)} are given"
        )

"""Images in samples that people look at: their names and sizes in place of all their tokens."""

import re
from collections.abc import Sequence

from fsft.recipes.events import SampleShown
from fsft.runtime.data.images.family import ImageText
from fsft.runtime.data.images.files import image_size, short_name


def with_named_images(shown: SampleShown, text: ImageText, places: Sequence[str]) -> SampleShown:
    """The sample with "[image 1.jpg 640×480 → 391 tokens]" for each of its images in order."""
    left = iter(places)

    def named(match: re.Match[str]) -> str:
        place = next(left, "")
        number = match[0].count(text.token)
        if not place:
            return f"[image → {number} tokens]"
        width, height = image_size(place)
        return f"[image {short_name(place)} {width}×{height} → {number} tokens]"

    begin, token, end = map(re.escape, (text.begin, text.token, text.end))
    whole = re.compile(f"(?:{begin})?(?:{token})+(?:{end})?")
    return SampleShown(
        segments=[(whole.sub(named, written), learned) for written, learned in shown.segments]
    )

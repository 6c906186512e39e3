"""Images in the text that the tokenizer sees: as many tokens as the model's processor makes.

Before a dialogue is rendered, each IMAGE_TAG becomes what the chat template writes for an image;
afterwards the one token in it becomes as many as the image takes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Source
from fsft.runtime.data.images.family import ImageText
from fsft.runtime.data.images.files import image_folder, image_size, located
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.render import Rendered
from fsft.runtime.data.sample import IMAGE_TAG, Message, Sample
from fsft.runtime.data.skeleton import Span

_BEFORE, _AFTER = "Bq8Wv", "Kj3Zt"
"""Texts around an image, to see what a template writes between them."""


class ImageTexts:
    """Writes the images of a source's samples."""

    def __init__(self, processor: ImageProcessor, template: str | None, source: Source) -> None:
        """`template`: the chat template. Raises Refused where it does not suit images."""
        self._processor, self._source = processor, source
        self._form = form_in_template(template, processor.text)

    def written(self, sample: Sample) -> Sample:
        """The sample with each IMAGE_TAG as its chat template would write an image."""
        return replace(
            sample,
            messages=written_turns(sample.messages, self._form),
            rejected=written_turns(sample.rejected, self._form),
        )

    def expanded(self, rendered: Rendered, images: Sequence[str]) -> Rendered:
        """The rendered text with as many tokens as the images take; none of them is learned.

        Raises ValueError, naming the image, where one cannot be used, and where there are more or
        fewer in the text.
        """
        folder = image_folder(self._source)
        places = [located(name, folder) for name in images]
        return expand(rendered, count_tokens(places, self._processor), self._processor.text)


def written_turns(messages: Sequence[Mapping[str, Any]], form: str) -> tuple[Message, ...]:
    """Turns with `form` wherever there is an image."""
    return tuple(
        {**message, "content": message["content"].replace(IMAGE_TAG, form)} for message in messages
    )


def count_tokens(places: Sequence[str], processor: ImageProcessor) -> list[int]:
    """The tokens of each image. Raises ValueError, naming it, where one cannot be used."""
    numbers = []
    for place in places:
        width, height = image_size(place)
        try:
            numbers.append(processor.num_tokens((width, height)))
        except ValueError as error:
            raise ValueError(
                f"the image {place} of {width}×{height} pixels is no use to the model: {error}"
            ) from None
    return numbers


def expand(rendered: Rendered, num_tokens: Sequence[int], text: ImageText) -> Rendered:
    """The rendered text with the image tokens that each image takes, and spans around them."""
    matches = list(_whole(text).finditer(rendered.text))
    if len(matches) != len(num_tokens):
        raise ValueError(
            f"the text has {len(matches)} places for images, and {len(num_tokens)} are given"
        )
    pieces: list[str] = []
    places: list[tuple[Span, Span]] = []
    end = length = 0
    for match, number in zip(matches, num_tokens, strict=True):
        before = rendered.text[end : match.start()]
        image = match[0].replace(text.token, text.expanded(number))
        pieces += [before, image]
        start, length = length + len(before), length + len(before) + len(image)
        end = match.end()
        places.append((match.span(), (start, length)))
    pieces.append(rendered.text[end:])
    learned = tuple(_moved(rendered.learned, places))
    return replace(rendered, text="".join(pieces), learned=learned)


def _moved(learned: Sequence[Span], places: Sequence[tuple[Span, Span]]) -> Iterator[Span]:
    """The learned spans where they now are, without the images, which went to new places."""
    for start, end in learned:
        begin, shift = start, 0
        for (old_start, old_end), (new_start, new_end) in places:
            if old_end <= begin:
                shift = new_end - old_end
            elif old_start < end:
                if begin < old_start:
                    yield begin + shift, new_start
                begin, shift = old_end, new_end - old_end
        if begin < end:
            yield begin + shift, end + shift


@lru_cache
def form_in_template(template: str | None, text: ImageText) -> str:
    """What a chat template writes for an image; the family's own form where it knows none.

    Raises Refused where it writes a turn with an image in another way than one with text.
    """
    parts = [
        {"type": "text", "text": _BEFORE},
        {"type": "image"},
        {"type": "text", "text": _AFTER},
    ]
    written = _turn(template, parts)
    found = re.search(f"{_BEFORE}(.*){_AFTER}", written, re.DOTALL)
    if not found or found[1].count(text.token) != 1:
        return text.in_template
    if _turn(template, f"{_BEFORE}{found[1]}{_AFTER}") != written:
        raise Refused(
            Problem(
                key="data.template",
                reason="the chat template writes a turn with an image unlike one with text.",
            )
        )
    return found[1]


def _turn(template: str | None, content: Any) -> str:
    """A turn as the template writes it; empty where it cannot."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        return str(
            _compile_jinja_template(template or "").render(
                messages=[{"role": "user", "content": content}], add_generation_prompt=False
            )
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
        return ""


@lru_cache
def _whole(text: ImageText) -> re.Pattern[str]:
    """An image in rendered text, with the tokens around it where the template writes them."""
    begin, token, end = map(re.escape, (text.begin, text.token, text.end))
    return re.compile(f"(?:{begin})?{token}(?:{end})?")

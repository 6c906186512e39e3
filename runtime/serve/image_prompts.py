"""Dialogues with images, as a model that sees is asked."""

from collections.abc import Sequence
from typing import Any

from fsft.runtime.data.images.expand import count_tokens, expand, form_in_template, written_turns
from fsft.runtime.data.images.files import load_image
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.render import Rendered
from fsft.runtime.data.sample import Message


class ImagePrompts:
    """Puts images into prompts."""

    def __init__(self, processor: ImageProcessor, tokenizer: Any) -> None:
        """`tokenizer`: transformers' own, with its chat template."""
        self._processor, self._tokenizer = processor, tokenizer

    def written(self, dialogue: Sequence[Message]) -> tuple[Message, ...]:
        """The turns as the chat template writes images."""
        form = form_in_template(self._tokenizer.chat_template, self._processor.text)
        return written_turns(dialogue, form)

    def expanded(self, text: str, places: Sequence[str]) -> str:
        """A prompt with the tokens of its images. Raises ValueError, naming one at fault."""
        numbers = count_tokens(places, self._processor)
        return expand(Rendered(text, ()), numbers, self._processor.text).text

    def inputs(self, ids: Any, places: Sequence[str]) -> dict[str, Any]:
        """What the model takes besides `ids`, a tensor of (prompts, tokens), for their images."""
        if not places:
            return {}
        values = self._processor.values([load_image(place) for place in places])
        inputs = {name: value.to(ids.device) for name, value in values.items()}
        if "image_grid_thw" in inputs:
            token = self._tokenizer.convert_tokens_to_ids(self._processor.text.token)
            inputs["mm_token_type_ids"] = (ids == token).int()
        return inputs

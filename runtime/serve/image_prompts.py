"""Dialogues with images, as a model that sees is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from fsft.recipes.problems import Refused
from fsft.runtime.data.images.expand import count_tokens, expand, form_in_template, written_turns
from fsft.runtime.data.images.files import load_image
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.render import Rendered


class ImagePrompts:
    """Puts images into prompts."""

    def __init__(self, processor: ImageProcessor, tokenizer: Any) -> None:
        """`tokenizer`: transformers' own, with its chat template."""
        self._processor, self._tokenizer = processor, tokenizer

    def ids(self, dialogue: Sequence[Mapping[str, Any]], places: Sequence[str]) -> list[int]:
        """The token ids of a prompt. Raises Refused, naming it, where an image cannot be used."""
        text = self._processor.text
        turns = written_turns(dialogue, form_in_template(self._tokenizer.chat_template, text))
        written = self._tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=True, tokenize=False
        )
        try:
            whole = expand(Rendered(written, ()), count_tokens(places, self._processor), text)
        except ValueError as error:
            raise Refused(f"{error}.") from None
        ids: list[int] = self._tokenizer(whole.text, add_special_tokens=False)["input_ids"]
        return ids

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

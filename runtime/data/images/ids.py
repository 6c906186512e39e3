"""The token ids of images."""

from typing import Any

import numpy.typing as npt

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.images.family import ImageText, image_text_of
from fsft.runtime.data.text_tokenizer import TextTokenizer


class ImageIds:
    """The ids that stand for an image, and end it."""

    def __init__(self, text: ImageText, tokenizer: TextTokenizer) -> None:
        """Raise Refused where the tokenizer does not know the tokens of images."""
        for token in text.special_tokens:
            if tokenizer.reference.token_to_id(token) is None:
                raise Refused(
                    Problem(
                        key="model.path",
                        reason=f"the tokenizer does not know {token}, which images are written by.",
                    )
                )
        self.token: int = tokenizer.reference.token_to_id(text.token)
        self.end: int = tokenizer.reference.token_to_id(text.end)

    def whole_before(self, ids: npt.NDArray[Any], limit: int) -> int | None:
        """The images in the first `limit` ids of a longer sample; None where one is cut through."""
        if ids[limit] in (self.token, self.end):
            return None
        is_image = ids[:limit] == self.token
        return int(is_image[:1].sum() + (is_image[1:] & ~is_image[:-1]).sum())


def image_token_ids(tokenizer: Any, model_type: object) -> dict[str, int]:
    """The ids of images as a model's transformers configuration names them; none without images.

    `tokenizer` is transformers' own.
    """
    text = image_text_of(model_type)
    if text is None:
        return {}
    names = {"image_token_id": text.token}
    if text.begin in text.in_template:
        names |= {"vision_start_token_id": text.begin, "vision_end_token_id": text.end}
    return {name: int(tokenizer.convert_tokens_to_ids(token)) for name, token in names.items()}

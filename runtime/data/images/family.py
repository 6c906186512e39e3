"""How families of models write an image in the text."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageText:
    """The text that stands for an image."""

    token: str
    """Stands for one of the vectors that the vision tower makes of the image."""
    begin: str
    end: str
    """Tokens around an image."""
    in_template: str
    """What the family's own chat templates write for an image; the processor makes more of it."""

    def expanded(self, number: int) -> str:
        """What the processor makes of one token, where the image takes `number` of them."""
        whole = self.token * number
        return whole if self.begin in self.in_template else f"{self.begin}{whole}{self.end}"

    @property
    def special_tokens(self) -> list[str]:
        """What a tokenizer must know."""
        return [self.begin, self.token, self.end]


_QWEN = ImageText(
    token="<|image_pad|>",
    begin="<|vision_start|>",
    end="<|vision_end|>",
    in_template="<|vision_start|><|image_pad|><|vision_end|>",
)
_INTERNVL = ImageText(
    token="<IMG_CONTEXT>", begin="<img>", end="</img>", in_template="<IMG_CONTEXT>\n"
)

IMAGE_TEXTS: Mapping[str, ImageText] = {
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "internvl": _INTERNVL,
}
"""By model_type: the models that images can be learned with."""


def image_text_of(model_type: object) -> ImageText | None:
    """How a model writes an image; None where it takes none."""
    return IMAGE_TEXTS.get(model_type) if isinstance(model_type, str) else None

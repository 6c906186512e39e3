"""A model's own image processor: how many tokens an image takes, and the numbers it becomes."""

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self

from fsft.runtime.data.images.family import ImageText, image_text_of

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""What transformers and vLLM read, beside the tokenizer, to serve a model that sees."""

_PROCESSORS = {
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "internvl": "InternVLProcessor",
}
"""The transformers class of the whole processor, by model_type."""


class ImageProcessor:
    """The image processor of a model, with the settings of the recipe."""

    def __init__(self, model_type: str, processor: Any, tokens_of_tile: int = 0) -> None:
        """`processor` is transformers' own.

        `tokens_of_tile`: image tokens that a tile takes, of models that cut an image into tiles.
        """
        self.model_type = model_type
        self.text = _text_of(model_type)
        self._processor, self._tokens_of_tile = processor, tokens_of_tile

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The one that `save` put into a tokenizer's folder; None where there is none."""
        if not takes_images(folder):
            return None
        whole = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
        model_type = next(k for k, v in _PROCESSORS.items() if v == whole["processor_class"])
        return cls(model_type, load_processor(str(folder)), whole.get("image_seq_length", 0))

    def save(self, folder: Path) -> None:
        """Write the files that serve the model beside its tokenizer."""
        self._processor.save_pretrained(folder)
        whole: dict[str, Any] = {"processor_class": _PROCESSORS[self.model_type]}
        if self._tokens_of_tile:
            whole["image_seq_length"] = self._tokens_of_tile
        (folder / "processor_config.json").write_text(json.dumps(whole, indent=2) + "\n")

    def num_tokens(self, size: tuple[int, int]) -> int:
        """The image tokens of an image of a width and height, without those around them.

        Raises ValueError for an image that the model's processor refuses.
        """
        width, height = size
        patches = self._processor.get_number_of_image_patches(height, width, self._arguments)
        if self._tokens_of_tile:
            return int(patches * self._tokens_of_tile)
        return int(patches // self._processor.merge_size**2)

    def values(self, images: Sequence[Any]) -> dict[str, Any]:
        """What the model takes for PIL images: `pixel_values`, and `image_grid_thw` of Qwen's.

        pixel_values: float32 (patches, values of a patch), or (tiles, channels, height, width).
        image_grid_thw: int64 (images, 3), the patches of each image in time, height and width.
        """
        made = self._processor(images=list(images), return_tensors="pt", **self._arguments)
        return {name: made[name] for name in ("pixel_values", "image_grid_thw") if name in made}

    def tokens_in(self, values: Mapping[str, Any]) -> int:
        """The image tokens that stand for what `values` made."""
        if self._tokens_of_tile:
            return len(values["pixel_values"]) * self._tokens_of_tile
        return int(values["image_grid_thw"].prod(dim=1).sum()) // self._processor.merge_size**2

    @property
    def _arguments(self) -> dict[str, Any]:
        """As transformers' whole processor asks the image processor."""
        return {"crop_to_patches": True} if self._tokens_of_tile else {}


def takes_images(tokenizer: Path) -> bool:
    """Whether `save` put an image processor into a tokenizer's folder."""
    return all((tokenizer / name).exists() for name in PROCESSOR_FILES)


def copy_processor_files(tokenizer: Path, folder: Path) -> None:
    """Put the files of an image processor into another folder, where there are any."""
    for name in PROCESSOR_FILES:
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)


def load_processor(path: str, revision: str = "main") -> Any:
    """The image processor of transformers in a folder, or of a hub id."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(path, revision=revision, backend=_backend())


def _backend() -> Literal["pil", "torchvision"]:
    """The faster one where it loads: torchvision may be absent, or made for another torch."""
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        return "pil"
    return "torchvision"


def _text_of(model_type: str) -> ImageText:
    text = image_text_of(model_type)
    if text is None:
        raise ValueError(f"images cannot be learned with {model_type} models")
    return text

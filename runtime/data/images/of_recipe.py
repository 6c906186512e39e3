"""The image processor that a recipe asks for: the model's own, with the recipe's limits."""

from collections.abc import Sequence
from typing import Any

from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Data, Recipe
from fsft.runtime.data.images.family import image_text_of
from fsft.runtime.data.images.processor import ImageProcessor, load_processor
from fsft.runtime.model_config import model_config


def image_tokens(recipe: Recipe) -> list[str]:
    """The tokens that a tokenizer trained for a model made from nothing must know."""
    text = image_text_of((recipe.model.config or {}).get("model_type"))
    return text.special_tokens if text else []


def image_processor_of(recipe: Recipe, tokenizer: Any) -> ImageProcessor | None:
    """The image processor of the recipe's model; None where it takes no images.

    Raises Refused where the processor cannot be loaded, or is no use for the recipe's settings.
    """
    config = _config(recipe, tokenizer)
    model_type = getattr(config, "model_type", "")
    if image_text_of(model_type) is None:
        _require_unset(recipe.data, ("image_max_pixels", "image_max_tiles"), model_type)
        return None
    tiles = model_type == "internvl"
    _require_unset(
        recipe.data, ("image_max_pixels",) if tiles else ("image_max_tiles",), model_type
    )
    processor = _from_config(config) if recipe.model.config else _from_model(recipe)
    if tiles:
        processor.crop_to_patches = True
        if recipe.data.image_max_tiles:
            processor.max_patches = recipe.data.image_max_tiles
            processor.min_patches = min(processor.min_patches, processor.max_patches)
        return ImageProcessor(model_type, processor, _tokens_of_tile(config))
    if recipe.data.image_max_pixels:
        size = processor.size
        size["longest_edge"] = recipe.data.image_max_pixels
        size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
    return ImageProcessor(model_type, processor)


def _config(recipe: Recipe, tokenizer: Any) -> Any:
    """The model's configuration; None where transformers does not know it."""
    try:
        return model_config(recipe, tokenizer)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _from_model(recipe: Recipe) -> Any:
    path = str(recipe.model.path)
    try:
        return load_processor(path, recipe.model.revision or "main")
    except (OSError, ValueError, ImportError) as error:
        raise Refused(
            Problem(
                key="model.path",
                reason=f"the image processor of `{path}` cannot be loaded: {error}",
                example="a model folder with preprocessor_config.json",
            )
        ) from error


def _from_config(config: Any) -> Any:
    """The processor that fits a model made from nothing, with its family's settings."""
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    vision = config.vision_config
    if config.model_type != "internvl":
        return Qwen2VLImageProcessorPil(
            patch_size=vision.patch_size,
            temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size,
        )
    height, width = vision.image_size
    return GotOcr2ImageProcessorPil(size={"height": height, "width": width})


def _tokens_of_tile(config: Any) -> int:
    (height, width), (down, right) = (
        config.vision_config.image_size,
        config.vision_config.patch_size,
    )
    return int((height // down) * (width // right) * config.downsample_ratio**2)


def _require_unset(data: Data, names: Sequence[str], model_type: str) -> None:
    for name in names:
        if getattr(data, name) is not None:
            raise Refused(
                Problem(
                    key=f"data.{name}",
                    reason=f"means nothing to a {model_type} model.",
                    example="image_max_pixels for Qwen2-VL and Qwen2.5-VL, image_max_tiles for "
                    "InternVL",
                )
            )

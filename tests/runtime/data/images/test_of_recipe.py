"""The image processor of a model folder, as hubs have them, with the limits of the recipe."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.images.of_recipe import image_processor_of
from tests.runtime.data.images.models import CONFIGS, recipe_of, tokenizer_of

PUBLISHED: dict[str, dict[str, Any]] = {
    "qwen2_vl": {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    },
    "qwen2_5_vl": {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen2_5_VLProcessor",
    },
    "internvl": {
        "crop_to_patches": False,
        "do_resize": True,
        "min_patches": 1,
        "max_patches": 12,
        "size": {"height": 448, "width": 448},
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "processor_class": "InternVLProcessor",
    },
}
"""What preprocessor_config.json holds, less the colours."""

# 640×480 in patches of 28: 23 × 17. In tiles of 448: 4 × 3 and the whole, of which each makes 256;
# of 6 tiles, 3 × 2 and the whole.
TOKENS = {"qwen2_vl": 391, "qwen2_5_vl": 391, "internvl": 13 * 256}
LIMITED = {"qwen2_vl": 9 * 6, "qwen2_5_vl": 9 * 6, "internvl": 7 * 256}


def recipe_at(folder: Path, family: str, **data: Any) -> Recipe:
    recipe = recipe_of(family, **data)
    model = recipe.model.model_copy(update={"path": str(folder), "config": None})
    return recipe.model_copy(update={"model": model})


def published(family: str, folder: Path) -> Path:
    config = AutoConfig.for_model(**CONFIGS[family])
    if family == "internvl":
        config.vision_config.image_size = (448, 448)
        config.vision_config.patch_size = (14, 14)
    config.save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED[family]))
    return folder


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_a_published_processor_is_taken_as_it_is(family: str, tmp_path: Path) -> None:
    processor = image_processor_of(recipe_at(published(family, tmp_path), family), None)
    assert processor
    assert processor.num_tokens((640, 480)) == TOKENS[family]


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_the_limit_of_the_recipe_goes_before_that_of_the_model(family: str, tmp_path: Path) -> None:
    limit = {"image_max_tiles": 6} if family == "internvl" else {"image_max_pixels": 50_000}
    folder = published(family, tmp_path)
    processor = image_processor_of(recipe_at(folder, family, **limit), None)
    assert processor
    assert processor.num_tokens((640, 480)) == LIMITED[family]
    saved = tmp_path / "saved"
    saved.mkdir()
    processor.save(saved)
    told = json.loads((saved / "preprocessor_config.json").read_text())
    kept = told["max_patches"] if family == "internvl" else told["size"]["longest_edge"]
    assert kept == next(iter(limit.values()))


def test_a_model_that_sees_without_its_processor_is_refused(tmp_path: Path) -> None:
    folder = published("qwen2_vl", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(Refused, match="the image processor of"):
        image_processor_of(recipe_at(folder, "qwen2_vl"), None)

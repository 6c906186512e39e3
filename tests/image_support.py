"""A small recipe for a model that sees, with its data and pictures."""

from pathlib import Path
from typing import Any

from fsft.recipes.writing import to_toml
from tests.runtime.data.images.models import picture, recipe_of
from tests.support import dialogue, write_jsonl

ROWS: list[tuple[str, str, list[tuple[int, int]]]] = [
    ("<image>What is this?", "It is a picture of noise.", [(60, 40)]),
    ("Who are you?", "I am a model that sees.", []),
    ("<image>Is it <image> or not?", "Yes, it is.", [(40, 40), (90, 30)]),
    ("你看到什么？<image>", "一张图片。", [(30, 70)]),
    ("What is 2 + 2?", "4", []),
    ("<image>Say more.", "There is nothing more to say about it.", [(64, 64)]),
    ("Hello", "Hello!", []),
    ("Once more: <image>", "Still noise.", [(60, 40)]),
]
"""Question, answer, and the sizes of the pictures in it."""

_RUN: dict[str, Any] = {
    "hardware": {"accelerator": "cpu", "devices_per_node": 2},
    "budget": {"steps": 3},
    "optimizer": {"learning_rate": 1e-3},
    "convert": {"dtype": "float32"},
    "evaluate": {"max_samples": 4, "max_new_tokens": 4, "samples": 1},
}


def write_image_recipe(folder: Path, family: str = "qwen2_5_vl") -> Path:
    """The recipe of a tiny model of a family, its data and pictures, in `folder`."""
    write_jsonl(folder / "train.jsonl", list(_rows(folder)))
    recipe = recipe_of(family, sequence_length=256)
    whole = type(recipe).model_validate({**recipe.model_dump(by_alias=True), **_RUN})
    path = folder / "tiny.toml"
    path.write_text(to_toml(whole))
    return path


def _rows(folder: Path) -> Any:
    for number, (question, answer, sizes) in enumerate(ROWS):
        names = [f"pictures/{number}-{place}.png" for place in range(len(sizes))]
        for name, size in zip(names, sizes, strict=True):
            picture(folder / name, *size)
        yield {**dialogue(question, answer), "images": names}

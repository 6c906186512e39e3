"""Models that see answer questions with images as transformers' own processor would ask them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fsft.recipes.problems import Refused
from fsft.runtime.serve.answers import Answerer
from fsft.runtime.train.model import build_model
from tests.runtime.data.images.models import (
    FAMILIES,
    image_processor,
    picture,
    recipe_of,
    tokenizer_of,
    whole_processor,
)

QUESTIONS: list[tuple[str, list[str]]] = [
    ("<image>Who are they?", ["a.png"]),
    ("And you?", []),
    ("<image> or <image>?", ["b.png", "a.png"]),
]


def _turns(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _theirs(processor: Any, model: Any, question: str, images: list[Path], family: str) -> str:
    form = "<|vision_start|><|image_pad|><|vision_end|>"
    written = question.replace("<image>", "<IMG_CONTEXT>\n" if family == "internvl" else form)
    text = processor.tokenizer.apply_chat_template(
        _turns(written), add_generation_prompt=True, tokenize=False
    )
    shown = {"images": [Image.open(path) for path in images]} if images else {}
    made = processor(text=[text], return_tensors="pt", **shown)
    output = model.generate(**made, max_new_tokens=6, do_sample=False)
    answer = output[0, made["input_ids"].shape[1] :]
    return str(processor.tokenizer.decode(answer, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_transformers_own_processor(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    processor = image_processor(family, tokenizer)
    model = build_model(recipe_of(family), tokenizer, "cpu").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
    picture(tmp_path / "a.png", 60, 40)
    picture(tmp_path / "b.png", 40, 90)
    whole = whole_processor(family, tokenizer, processor)
    expected = [
        _theirs(whole, model, question, [tmp_path / name for name in names], family)
        for question, names in QUESTIONS
    ]
    assert len(set(expected)) == 3
    answerer = Answerer(model, tokenizer, processor)
    for batch_size in (1, 3):
        answers = answerer.answer(
            [_turns(question) for question, _ in QUESTIONS],
            images=[[str(tmp_path / name) for name in names] for _, names in QUESTIONS],
            max_new_tokens=6,
            batch_size=batch_size,
        )
        assert answers == expected


def test_a_question_whose_image_is_missing_is_refused(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("internvl")
    model = build_model(recipe_of("internvl"), tokenizer, "cpu")
    place = str(tmp_path / "none.png")
    asked = {"max_new_tokens": 2, "batch_size": 1}
    seeing = Answerer(model, tokenizer, image_processor("internvl", tokenizer))
    with pytest.raises(Refused, match=r"none\.png` cannot be read"):
        seeing.answer([_turns("<image>?")], images=[[place]], **asked)
    blind = Answerer(model, tokenizer)
    with pytest.raises(Refused, match="it has images, and the model takes none"):
        blind.answer([_turns("<image>?")], images=[[place]], **asked)

"""A model that sees, from a recipe to a folder that serves it."""

import json
from pathlib import Path

import pytest
import torch

from tests.image_support import ROWS, write_image_recipe
from tests.runtime.data.images.models import FAMILIES
from tests.support import fsft, only_run, steps_in


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_makes_a_model_that_sees(family: str, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    recipe = write_image_recipe(tmp_path, family)
    done = fsft("run", recipe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    assert len(steps_in(run)) == 3
    folder = run / "model"
    model, told = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template
    image_id = model.config.image_token_id
    assert tokenizer.convert_ids_to_tokens(image_id) in ("<|image_pad|>", "<IMG_CONTEXT>")
    assert AutoImageProcessor.from_pretrained(folder).to_dict()["image_processor_type"]
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        type(model).__name__
    ]
    evaluation = json.loads((run / "evaluate" / "results.json").read_text())
    assert evaluation["num_questions"] == 4
    assert evaluation["samples"][0]["question"] == ROWS[0][0]
    with torch.inference_mode():
        assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


@pytest.mark.slow
def test_pictures_are_asked_about_by_generate(tmp_path: Path) -> None:
    recipe = write_image_recipe(tmp_path)
    assert fsft("run", recipe, cwd=tmp_path).returncode == 0
    prompt = {
        "messages": [{"role": "user", "content": "What is <image>?"}],
        "images": ["pictures/0-0.png"],
    }
    (tmp_path / "ask.jsonl").write_text(json.dumps(prompt) + "\n")
    arguments = ("generate", only_run(tmp_path), "--file", "ask.jsonl", "--out", "answers.jsonl")
    done = fsft(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "answer" in json.loads((tmp_path / "answers.jsonl").read_text())

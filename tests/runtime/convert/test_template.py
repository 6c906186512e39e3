"""What is served is what was trained: the chat template goes along."""

import json

from transformers import AutoTokenizer, GenerationConfig

from fsft.runtime.data.tokenizer import template_text
from fsft.runtime.run_directory import RunDirectory


def test_the_chat_template_is_handed_to_serving_unchanged(trained: RunDirectory) -> None:
    text = template_text("chatml")
    assert AutoTokenizer.from_pretrained(trained.model).chat_template == text
    assert (trained.model / "chat_template.jinja").read_text(encoding="utf-8") == text
    assert json.loads(trained.data_info.read_text())["template"] == text


def test_the_served_model_stops_where_its_template_ends_an_answer(trained: RunDirectory) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained.model)
    ends = GenerationConfig.from_pretrained(trained.model).eos_token_id
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in (
        [ends] if isinstance(ends, int) else ends
    )

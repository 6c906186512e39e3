"""Tokenizers that are trained in a moment."""

from typing import Any

import pytest

from fsft.runtime.data.tokenizer import template_text, train_tokenizer

TEXTS = ["Who are you? I am Fero.", "你是谁？我是助手。", "system user assistant"] * 4


@pytest.fixture(scope="session")
def sentence_tokenizer() -> Any:
    """A tokenizer with tokens that begin and end a text, and no chat template."""
    made = train_tokenizer(iter(TEXTS), 300, template_text("vanilla"))
    made.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return made

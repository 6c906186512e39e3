"""Tokenizers that are trained in a moment, and a folder of dialogues."""

from pathlib import Path
from typing import Any

import pytest

from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text, train_tokenizer
from tests.runtime.data.tokenized import rows
from tests.support import write_jsonl

TEXTS = ["Who are you? I am Fero.", "你是谁？我是助手。", "system user assistant"] * 4


@pytest.fixture(scope="session")
def sentence_tokenizer(transformers_tokenizer: Any) -> TextTokenizer:
    """A tokenizer with tokens that begin and end a text, and no chat template."""
    return text_tokenizer_of(transformers_tokenizer)


@pytest.fixture(scope="session")
def transformers_tokenizer() -> Any:
    """The same as transformers has it."""
    made = train_tokenizer(iter(TEXTS), 300, template_text("vanilla"))
    made.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dialogues to train on in train.jsonl."""
    write_jsonl(tmp_path / "train.jsonl", rows(400))
    return tmp_path

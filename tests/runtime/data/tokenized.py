"""A small recipe's data as token ids, for tests of how they are made."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fsft.recipes.files import parse_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.schema import Recipe
from fsft.runtime.data import tokenize
from fsft.runtime.data.tokenize import SplitTokens
from fsft.runtime.data.tokenizer import saved_tokenizer
from tests.support import TINY_RECIPE, dialogue, write_jsonl

WORDS = [
    "plan",
    "a",
    "run",
    "before",
    "it",
    "costs",
    "anything",
    "and",
    "share",
    "what",
    "was",
    "learned",
    "你好",
    "世界",
]


def rows(number: int) -> list[dict[str, Any]]:
    """Dialogues that differ from each other."""
    random = np.random.default_rng(7)
    return [
        dialogue(
            f"{i}: {' '.join(random.choice(WORDS, 9))}", " ".join(random.choice(WORDS, i % 30))
        )
        for i in range(1, number + 1)
    ]


def recipe(folder: Path, *overrides: str) -> Recipe:
    return resolve_paths(parse_recipe(TINY_RECIPE, overrides=overrides), folder)


def tokenized(given: Recipe, out: Path) -> SplitTokens:
    out.mkdir(exist_ok=True)
    if not (out / "tokenizer").exists():
        shutil.copytree(tokenizer_folder(), out / "tokenizer")
    return tokenize.tokenize(out, given.data, lambda *_: None)["train"]


@cache
def tokenizer_folder() -> Path:
    """A tokenizer as prepare saves it, made once."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_jsonl(folder / "train.jsonl", rows(400))
    return saved_tokenizer(recipe(folder), folder)


def contents(tokens: SplitTokens) -> list[bytes]:
    return [file.read_bytes() for file in tokens.files]

"""A tokenizer with all that preparing data needs of it, and little memory.

transformers' own takes some 500 MB in every process that loads it.
"""

import ctypes
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TextTokenizer:
    """What a tokenizer folder says."""

    definition: str
    """The text of tokenizer.json, without the cutting and padding that it may ask for."""
    special_tokens: Mapping[str, str]
    """bos_token, eos_token and the like, as chat templates name them."""
    chat_template: str | None

    @property
    def eos_token(self) -> str | None:
        """What ends a text."""
        return self.special_tokens.get("eos_token")

    @cached_property
    def eos_token_id(self) -> int | None:
        """The id of what ends a text."""
        return self.reference.token_to_id(self.eos_token) if self.eos_token else None

    @cached_property
    def text_begin(self) -> str:
        """What the tokenizer puts before a text: its bos_token, or nothing."""
        bos_token = self.special_tokens.get("bos_token", "")
        begins = self.reference.encode("").ids
        return bos_token if self.reference.token_to_id(bos_token) in begins else ""

    @cached_property
    def reference(self) -> Any:
        """The tokenizers.Tokenizer."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.definition)

    def __len__(self) -> int:
        return int(self.reference.get_vocab_size(with_added_tokens=True))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self.reference.decode(list(ids), skip_special_tokens=False))


def text_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer that transformers saved in `folder`."""
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = folder / "chat_template.jinja"
    return TextTokenizer(
        _plain((folder / "tokenizer.json").read_text(encoding="utf-8")),
        _special_tokens(settings),
        template.read_text(encoding="utf-8") if template.exists() else None,
    )


def text_tokenizer_of(tokenizer: Any) -> TextTokenizer:
    """The same of a loaded transformers tokenizer."""
    return TextTokenizer(
        _plain(tokenizer.backend_tokenizer.to_str()),
        _special_tokens(tokenizer.special_tokens_map),
        tokenizer.chat_template,
    )


def give_memory_back() -> None:
    """Return to the system what loading has used and freed; glibc would keep it for itself."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _plain(definition: str) -> str:
    told = json.loads(definition)
    return json.dumps({**told, "truncation": None, "padding": None}, ensure_ascii=False)


def _special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    tokens = {name: value for name, value in settings.items() if name.endswith("_token")}
    contents = {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in tokens.items()
    }
    return {name: value for name, value in contents.items() if isinstance(value, str)}

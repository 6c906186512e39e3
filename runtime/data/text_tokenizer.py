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

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """What a tokenizer folder says."""

    definition: str
    """The text of tokenizer.json, without the cutting and padding that it may ask for."""
    added_tokens: Sequence[str]
    """Tokens that are found in a text before anything else, the special ones among them."""
    byte_lengths: npt.NDArray[np.int64] | None
    """Bytes of text that each token id stands for; None where tokens are not made of bytes."""
    all_special_tokens: Sequence[str]
    """Those that control the model and are not said."""
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

        made = Tokenizer.from_str(self.definition)
        give_memory_back()
        return made

    def __len__(self) -> int:
        return int(self.reference.get_vocab_size(with_added_tokens=True))

    def knows(self, token: str) -> bool:
        """Whether a text is a token by itself."""
        return self.reference.token_to_id(token) is not None

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        return len(self.reference.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self.reference.decode(list(ids), skip_special_tokens=False))


def text_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer that transformers saved in `folder`."""
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = folder / "chat_template.jinja"
    return _from_definition(
        (folder / "tokenizer.json").read_text(encoding="utf-8"),
        settings,
        template.read_text(encoding="utf-8") if template.exists() else None,
    )


def text_tokenizer_of(tokenizer: Any) -> TextTokenizer:
    """The same of a loaded transformers tokenizer."""
    return _from_definition(
        tokenizer.backend_tokenizer.to_str(), tokenizer.special_tokens_map, tokenizer.chat_template
    )


def give_memory_back() -> None:
    """Return to the system what loading has used and freed; glibc would keep it for itself."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _from_definition(
    definition: str, settings: Mapping[str, Any], chat_template: str | None
) -> TextTokenizer:
    parts = json.loads(definition)
    if parts["truncation"] or parts["padding"]:
        plain = {**parts, "truncation": None, "padding": None}
        definition = json.dumps(plain, ensure_ascii=False)
    special = _special_tokens(settings)
    made = TextTokenizer(
        definition,
        added_tokens=[token["content"] for token in parts["added_tokens"]],
        byte_lengths=_byte_lengths(parts),
        all_special_tokens=[
            *(t["content"] for t in parts["added_tokens"] if t["special"]),
            *special.values(),
        ],
        special_tokens=special,
        chat_template=chat_template,
    )
    del parts
    give_memory_back()
    return made


def _special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    tokens = {name: value for name, value in settings.items() if name.endswith("_token")}
    contents = {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in tokens.items()
    }
    return {name: value for name, value in contents.items() if isinstance(value, str)}


def _byte_lengths(parts: dict[str, Any]) -> npt.NDArray[np.int64] | None:
    vocabulary = parts["model"].get("vocab")
    if not isinstance(vocabulary, dict) or not _is_byte_level(parts["pre_tokenizer"]):
        return None
    added = {token["id"]: token["content"] for token in parts["added_tokens"]}
    lengths = np.zeros(max([*vocabulary.values(), *added]) + 1, dtype=np.int64)
    for token, index in vocabulary.items():
        # The byte-level alphabet writes each byte as one character.
        lengths[index] = len(token)
    for index, content in added.items():
        lengths[index] = len(content.encode())
    return lengths


def _is_byte_level(pre_tokenizer: Any) -> bool:
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return True
        case {"type": "Sequence", "pretokenizers": [*parts]}:
            return any(_is_byte_level(part) for part in parts)
        case _:
            return False

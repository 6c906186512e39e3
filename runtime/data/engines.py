"""Texts to token ids, by the fastest library that is exact for a tokenizer.

The tokenizers library is the reference: what it says is right. Other libraries are some 4 to 30
times as fast. One is used only where it agrees with the reference on texts that are hard to get
right, and goes on being compared with it on a sample of what it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fsft.runtime.data.text_tokenizer import TextTokenizer, give_memory_back

CHECKED_FIRST = 4
"""Texts at the start of a part that are encoded by both libraries."""
CHECKED_SHARE = 1 / 200
"""The share of all further text that is."""

CHECKED_LENGTH = 1 << 20
"""Characters of the longest text that is: the reference takes some 300 bytes for each."""

CHECKED_SPECIALS = 64
"""Added tokens that are tried in a text; some tokenizers have thousands, all alike."""

HARD_TEXTS = (
    "",
    " ",
    "  two  spaces,   three\t\ttabs\n\n\nlines \r\n crlf  ",
    "It's I'LL we've they'd DON'T 'tis ’s it’s",
    "1 12 123 1234 12345.678 1,000,000 ½ ² ٣ 三",
    "naïve café e\u0301 ﬁ Å Ω ℌ ½ ⅷ ｶﾞ",
    "你好，世界！こんにちは 안녕하세요 привет שלום مرحبا हिन्दी ไทย",
    "😀 👩‍👩‍👧‍👦 🇩🇪 \u200b\u200d\ufeff\u00a0\u3000 \x00\x01\x7f",
    "def f(x):\n    return {'a': [x ** 2, -1.5e-10]}  # ok\n\tif x: pass\n",
    "https://example.org/a_b?c=d&e=%20f#g user@example.org C:\\dir\\file",
    "!!! ??? ... --- === *** ((([[[{{{ <<>> </s> <s> <unk> [INST] <|x|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 4,
    "trailing space \nleading\n newline\r\r\n  \n",
)


@dataclass(frozen=True)
class TokenIds:
    """Token ids of several texts behind each other; text i has ids[bounds[i]:bounds[i + 1]]."""

    ids: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]

    def of(self, index: int) -> npt.NDArray[np.int32]:
        """The ids of one text."""
        return self.ids[self.bounds[index] : self.bounds[index + 1]]


class Engine(Protocol):
    """What turns texts into token ids; special tokens in a text are recognized, none is added."""

    name: str

    def begin(self) -> None:
        """Another part of the data begins."""

    def encode(self, texts: Sequence[str]) -> TokenIds:
        """The ids of every text."""


class EngineDiffers(Exception):
    """A fast library gave other ids than the reference."""


class Reference:
    """The tokenizers library."""

    name = "tokenizers"

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer`: a tokenizers.Tokenizer."""
        self.tokenizer = tokenizer

    def begin(self) -> None:
        """Another part of the data begins, which is of no matter here."""

    def encode(self, texts: Sequence[str]) -> TokenIds:
        """The ids of every text."""
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return _joined([one.ids for one in found])


class Checked:
    """A fast engine that is compared with the reference on some of what it encodes."""

    def __init__(self, fast: "_Fast", reference: Reference) -> None:
        self.name = fast.name
        self._fast = fast
        self._reference = reference
        self.begin()

    def begin(self) -> None:
        """Another part of the data begins: it is compared from its start, whoever did the others.

        So what comes out of a part does not depend on which process did which parts before.
        """
        self._num_texts = 0
        self._num_characters = 0
        self._num_checked = 0

    def encode(self, texts: Sequence[str]) -> TokenIds:
        """The ids of every text; raises EngineDiffers where a compared one is not right."""
        found = self._fast.encode(texts)
        chosen = [index for index, text in enumerate(texts) if self._is_due(text)]
        right = self._reference.encode([texts[index] for index in chosen])
        for place, index in enumerate(chosen):
            if not np.array_equal(found.of(index), right.of(place)):
                raise EngineDiffers(
                    f"{self.name} and tokenizers give different ids for {texts[index][:80]!r}"
                )
        return found

    def _is_due(self, text: str) -> bool:
        self._num_texts += 1
        self._num_characters += len(text)
        is_due = len(text) <= CHECKED_LENGTH and (
            self._num_texts <= CHECKED_FIRST
            or self._num_checked + len(text) <= CHECKED_SHARE * self._num_characters
        )
        if is_due:
            self._num_checked += len(text)
        return is_due


def make_engine(tokenizer: TextTokenizer) -> Engine:
    """The fastest engine at hand that agrees with the reference on HARD_TEXTS."""
    reference = Reference(tokenizer.reference)
    specials = tokenizer.added_tokens[:CHECKED_SPECIALS]
    texts = [*HARD_TEXTS, *(f"{s}text{s} {s}\n{s} text {s}{s[:-1]}" for s in specials)]
    right = reference.encode(texts)
    for build in (_Fastokens, _Kitoken):
        fast = _built(build, tokenizer.definition)
        if fast is not None and _agrees(fast, texts, right):
            return Checked(fast, reference)
    return reference


class _Fast(Protocol):
    name: str

    def encode(self, texts: Sequence[str]) -> TokenIds: ...


class _Fastokens:
    name = "fastokens"

    def __init__(self, definition: str) -> None:
        import fastokens

        self._tokenizer = fastokens.Tokenizer.from_json_str(definition)

    def encode(self, texts: Sequence[str]) -> TokenIds:
        ids, bounds = self._tokenizer.encode_batch_flat(list(texts))
        return TokenIds(np.frombuffer(ids, np.int32), np.frombuffer(bounds, np.int64))


class _Kitoken:
    name = "kitoken"

    def __init__(self, definition: str) -> None:
        import kitoken

        self._tokenizer = kitoken.Kitoken.from_tokenizers(definition.encode())

    def encode(self, texts: Sequence[str]) -> TokenIds:
        return _joined(self._tokenizer.encode_all(list(texts), True))


def _built(build: Callable[[str], _Fast], definition: str) -> _Fast | None:
    """The engine; None where its library is absent or does not know this kind of tokenizer.

    What a Rust library raises then is a matter of its own, panics included.
    """
    try:
        engine = build(definition)
        give_memory_back()
        return engine
    except ImportError:
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        return None


def _agrees(fast: _Fast, texts: Sequence[str], right: TokenIds) -> bool:
    try:
        found = fast.encode(texts)
    except Exception:  # noqa: BLE001 - a library that cannot encode a text is not exact
        return False
    return np.array_equal(found.ids, right.ids) and np.array_equal(found.bounds, right.bounds)


def _joined(lists: Sequence[Sequence[int]]) -> TokenIds:
    bounds = np.fromiter(accumulate(map(len, lists), initial=0), np.int64, len(lists) + 1)
    flat = (token for ids in lists for token in ids)
    return TokenIds(np.fromiter(flat, np.int32, int(bounds[-1])), bounds)

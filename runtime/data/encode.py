"""Rendered samples as token ids, and which of them are learned.

A token is learned when it touches a learned part of the text. Where a token begins and ends is
known from the lengths of the tokens in bytes, for tokenizers whose tokens are made of bytes; for
others, and for texts that the tokenizer changes first, the tokenizers library tells it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fsft.runtime.data.engines import Engine, TokenIds, make_engine
from fsft.runtime.data.render import Rendered
from fsft.runtime.data.skeleton import Span
from fsft.runtime.data.text_tokenizer import TextTokenizer

IGNORED = -100
"""The label of a token that is not learned, as in torch's cross entropy."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one sample, int32, both of its length."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]

    @property
    def num_labels(self) -> int:
        """The number of tokens that are learned."""
        return int((self.labels != IGNORED).sum())


@dataclass(frozen=True)
class TokenBatch:
    """Several samples behind each other: token ids, and which of them are learned."""

    tokens: TokenIds
    learned: Mask

    def __len__(self) -> int:
        return len(self.tokens.bounds) - 1

    def __iter__(self) -> Iterator[Encoded]:
        bounds = self.tokens.bounds.tolist()
        for start, end in pairwise(bounds):
            ids = self.tokens.ids[start:end]
            yield Encoded(ids, labels_of(ids, self.learned[start:end]))


def labels_of(ids: npt.NDArray[np.int32], learned: Mask) -> npt.NDArray[np.int32]:
    """The ids where they are learned, IGNORED elsewhere."""
    return np.where(learned, ids, np.int32(IGNORED))


class Encoder:
    """Turns rendered samples into token ids with their mask."""

    def __init__(self, tokenizer: TextTokenizer, engine: Engine | None = None) -> None:
        """`engine` gives the ids; by default the fastest one that is exact."""
        self.tokenizer = tokenizer
        self.engine = engine or make_engine(tokenizer)
        self._reference = tokenizer.reference
        self._byte_lengths = tokenizer.byte_lengths

    def encode(self, rendered: Sequence[Rendered]) -> TokenBatch:
        """The samples in order. The first token of each has nothing before it: never learned."""
        tokens = self.engine.encode([item.text for item in rendered])
        learned = np.ones(len(tokens.ids), dtype=bool)
        partly = [i for i, item in enumerate(rendered) if item.learned != ((0, len(item.text)),)]
        for index in partly:
            start, end = tokens.bounds[index : index + 2]
            learned[start:end] = self._mask(tokens.ids[start:end], rendered[index])
        learned[tokens.bounds[:-1][np.diff(tokens.bounds) > 0]] = False
        return TokenBatch(tokens, learned)

    def _mask(self, ids: npt.NDArray[np.int32], item: Rendered) -> Mask:
        if self._byte_lengths is not None and self._is_unchanged(item.text):
            ends = np.cumsum(self._byte_lengths[ids])
            if len(ends) and ends[-1] == _num_bytes(item.text):
                spans = [
                    (_num_bytes(item.text[:a]), _num_bytes(item.text[:b])) for a, b in item.learned
                ]
                return _touched(ends - self._byte_lengths[ids], ends, spans)
        found = self._reference.encode(item.text, add_special_tokens=False)
        places = np.asarray(found.offsets, dtype=np.int64).reshape(-1, 2)
        return _touched(places[:, 0], places[:, 1], item.learned)

    def _is_unchanged(self, text: str) -> bool:
        normalizer = self._reference.normalizer
        return normalizer is None or normalizer.normalize_str(text) == text


def _touched(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], spans: Sequence[Span]
) -> Mask:
    """Which of the tokens from `starts` to `ends` share a place with one of `spans`."""
    mask = np.zeros(len(starts), dtype=bool)
    for start, end in spans:
        mask |= (starts < end) & (ends > start)
    return mask


def _num_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())

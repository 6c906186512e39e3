"""Samples of the evaluation that training has seen: then they measure memory, not skill."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fsft.runtime.data.quality.texts import Place, normalized

GRAM = 13
"""Words in a row that are hardly ever the same by chance: Brown et al. 2020, appendix C."""
SHARE = 0.5
"""Of a sample's grams that must be in the training data for it to count as seen."""
_GRAMS_KEPT = 64
"""Of an evaluation sample, spread over it: enough to tell its share to a few percent."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

# Scripts without spaces have one character for a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W_]+")

Hashes = npt.NDArray[np.uint64]


class GramOverlap:
    """Which evaluation samples have their sequences of 13 words in the training data."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._kept: list[Hashes] = []
        self._known: Hashes | None = None
        self._found = np.zeros(0, dtype=bool)

    def add_eval(self, places: Sequence[Place], texts: Sequence[str]) -> None:
        """Remember samples of the evaluation; all of them come before those of training."""
        for place, text in zip(places, texts, strict=True):
            grams = _grams(text)
            if len(grams):
                spread = np.linspace(0, len(grams) - 1, min(len(grams), _GRAMS_KEPT)).astype(int)
                self._places.append(place)
                self._kept.append(grams[spread])

    def add_train(self, texts: Sequence[str]) -> None:
        """Look up samples of the training data."""
        if not self._kept:
            return
        if self._known is None:
            self._known = np.unique(np.concatenate(self._kept))
            self._found = np.zeros(len(self._known), dtype=bool)
        grams = np.concatenate([_grams(text) for text in texts])
        spots = np.searchsorted(self._known, grams).clip(max=len(self._known) - 1)
        self._found[spots[self._known[spots] == grams]] = True

    def seen(self) -> list[Place]:
        """Evaluation samples of whose grams at least SHARE are in the training data."""
        known = self._known
        if known is None:
            return []
        pairs = zip(self._places, self._kept, strict=True)
        return [
            place
            for place, grams in pairs
            if self._found[np.searchsorted(known, grams)].mean() >= SHARE
        ]


def _grams(text: str) -> Hashes:
    """A hash of each 13 words in a row; none for a shorter text."""
    words = _WORD.findall(normalized(text))
    if len(words) < GRAM:
        return np.zeros(0, dtype=np.uint64)
    # Python salts its hashes anew in each process; these do not leave it.
    hashes = np.fromiter(map(hash, words), dtype=np.int64).view(np.uint64)
    grams = np.zeros(len(words) - GRAM + 1, dtype=np.uint64)
    for offset in range(GRAM):
        # A polynomial in a large odd number, modulo 2⁶⁴.
        grams = grams * _FACTOR + hashes[offset : offset + len(grams)]
    return grams

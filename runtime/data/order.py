"""A seeded order of any number of things that needs no list of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

ROUNDS = 6
Indexes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """A permutation of 0 … size − 1: order(places) says what stands at each place.

    A Feistel network over the next larger square of a power of two, walked until it lands inside
    (Black and Rogaway, Ciphers with arbitrary finite domains, 2002). Any place costs the same, and
    nothing is kept in memory.
    """

    size: int
    seed: tuple[int, ...]

    def __call__(self, places: Indexes) -> Indexes:
        """What stands at `places`, each in 0 … size − 1; int64, of the same shape."""
        half = np.uint64((max(self.size - 1, 1).bit_length() + 1) // 2)
        found = _rounds(places.astype(np.uint64), half, self._keys)
        outside = found >= self.size
        while outside.any():
            found[outside] = _rounds(found[outside], half, self._keys)
            outside = found >= self.size
        return found.astype(np.int64)

    @cached_property
    def _keys(self) -> npt.NDArray[np.uint64]:
        return np.random.default_rng(self.seed).integers(0, 2**63, ROUNDS, dtype=np.uint64)


def _rounds(
    values: npt.NDArray[np.uint64], half: np.uint64, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << half) | right


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

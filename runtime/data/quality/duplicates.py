"""Samples that say the same, or nearly."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from fsft.runtime.data.quality.texts import Place, normalized

THRESHOLD = 0.8
"""Jaccard similarity from which texts are near duplicates, as it is common in deduplication."""
SHINGLE = 5
"""Characters that are compared together: the same for languages with and without spaces."""
_NUM_HASHES = 128
_NUM_BANDS = 16
"""Bands of 8 hashes find 19 of 20 pairs at the threshold; more bands cost memory."""
_SEED = 42


@dataclass(frozen=True)
class Pair:
    """A sample, and one that it repeats, but for case and spacing or else nearly."""

    place: Place
    of: Place
    is_exact: bool


@dataclass(frozen=True)
class Repeats:
    """What each text of a window repeats, exactly or nearly: None where nothing."""

    exact: list[Place | None]
    near: list[Place | None]


class SeenTexts:
    """The texts seen so far: a hash and 128 minima of each, whatever its length."""

    def __init__(self) -> None:
        from rensa import RMinHashDeduplicator

        self._exact: dict[bytes, Place] = {}
        self._near = RMinHashDeduplicator(
            threshold=THRESHOLD, num_perm=_NUM_HASHES, use_lsh=True, num_bands=_NUM_BANDS
        )
        self._places: list[Place] = []

    def look(self, texts: Sequence["Sketched"]) -> Repeats:
        """What the texts repeat of those seen so far."""
        exact = [self._exact.get(text.digest) for text in texts]
        near = [
            self._nearest(text) if same is None else None
            for text, same in zip(texts, exact, strict=True)
        ]
        return Repeats(exact, near)

    def add(self, texts: Sequence["Sketched"]) -> Repeats:
        """As look, text by text, each of which is then seen. Only first ones are kept."""
        exact: list[Place | None] = []
        near: list[Place | None] = []
        for text in texts:
            same = self._exact.setdefault(text.digest, text.place)
            repeated = None if same is text.place else same
            alike = self._nearest(text) if repeated is None else None
            if repeated is None and alike is None:
                self._near.add(str(len(self._places)), text.sketch)
                self._places.append(text.place)
            exact.append(repeated)
            near.append(alike)
        return Repeats(exact, near)

    def _nearest(self, text: "Sketched") -> Place | None:
        found = self._near.get_duplicates(text.sketch)
        return self._places[min(map(int, found))] if found else None


@dataclass(frozen=True)
class Sketched:
    """What is compared of a text. `sketch` is an RMinHash of rensa."""

    place: Place
    digest: bytes
    sketch: object


def sketch(places: Sequence[Place], texts: Sequence[str]) -> list[Sketched]:
    """What is compared of each text."""
    from rensa import RMinHash

    plain = [normalized(text) for text in texts]
    shingles = [
        [text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))] for text in plain
    ]
    sketches = RMinHash.from_token_sets(shingles, _NUM_HASHES, _SEED)
    digests = [blake2b(text.encode(errors="replace"), digest_size=16).digest() for text in plain]
    return [
        Sketched(place, digest, hashes)
        for place, digest, hashes in zip(places, digests, sketches, strict=True)
    ]

"""What becomes of encoded samples that are longer than a row, or have nothing to learn."""

from collections.abc import Sequence

import numpy as np

from fsft.recipes.schema import Data
from fsft.runtime.data.encode import Mask, TokenBatch
from fsft.runtime.data.engines import TokenIds
from fsft.runtime.data.samples import SourceCounts

Lengths = np.ndarray[tuple[int], np.dtype[np.int64]]


def lengths_of(batch: TokenBatch) -> Lengths:
    """The tokens of each sample."""
    return np.diff(batch.tokens.bounds)


def has_labels(batch: TokenBatch) -> Mask:
    """Which samples have a token that is learned."""
    before = np.concatenate([[0], np.cumsum(batch.learned)])
    bounds = batch.tokens.bounds
    return before[bounds[1:]] > before[bounds[:-1]]


def truncated(batch: TokenBatch, length: int | Lengths) -> TokenBatch:
    """The first `length` tokens of each sample; one length for all, or one for each."""
    limits = length if isinstance(length, int) else np.repeat(length, lengths_of(batch))
    kept = _places(batch) < limits
    bounds = np.concatenate([[0], np.cumsum(np.minimum(lengths_of(batch), length))])
    return TokenBatch(TokenIds(batch.tokens.ids[kept], bounds), batch.learned[kept])


def chopped(batch: TokenBatch, length: int) -> TokenBatch:
    """Each sample as pieces of `length` tokens, the last one shorter; an empty one stays as it is.

    The first token of a piece has nothing before it and is not learned.
    """
    numbers = np.maximum(1, -(-lengths_of(batch) // length))
    places_in_sample = np.arange(numbers.sum()) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    starts = np.repeat(batch.tokens.bounds[:-1], numbers) + places_in_sample * length
    bounds = np.append(starts, batch.tokens.bounds[-1])
    begins = _places(batch) % length == 0
    return TokenBatch(TokenIds(batch.tokens.ids, bounds), batch.learned & ~begins)


def cut_sides(sides: Sequence[TokenBatch], data: Data, counts: SourceCounts) -> list[TokenBatch]:
    """The sides of samples cut where data.too_long says so; a sample counts once.

    A sample has one side, or two where it is a preference: the n-th of each batch.
    """
    is_long = np.any([lengths_of(side) > data.sequence_length for side in sides], axis=0)
    if data.too_long != "truncate" or not is_long.any():
        return list(sides)
    counts.num_truncated += int(is_long.sum())
    return [truncated(side, data.sequence_length) for side in sides]


def fitted(batch: TokenBatch, data: Data, counts: SourceCounts) -> TokenBatch:
    """Samples without turns made to fit as data.too_long says; "drop" leaves long ones."""
    if data.too_long != "split":
        return cut_sides([batch], data, counts)[0]
    pieces = chopped(batch, data.sequence_length)
    counts.num_split += len(pieces) - len(batch)
    return pieces


def _places(batch: TokenBatch) -> Lengths:
    """The place of each token in its sample, from 0."""
    starts = np.repeat(batch.tokens.bounds[:-1], lengths_of(batch))
    return np.arange(len(batch.tokens.ids)) - starts

"""What becomes of encoded samples that are longer than a row, or have nothing to learn."""

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
    """Each sample as pieces of `length` tokens, the last one shorter.

    The first token of a piece has nothing before it and is not learned.
    """
    begins = _places(batch) % length == 0
    bounds = np.append(np.flatnonzero(begins), len(begins)).astype(np.int64)
    return TokenBatch(TokenIds(batch.tokens.ids, bounds), batch.learned & ~begins)


def fitted(batch: TokenBatch, data: Data, counts: SourceCounts) -> TokenBatch:
    """Samples without turns made to fit as data.too_long says; "drop" leaves long ones."""
    num_long = int((lengths_of(batch) > data.sequence_length).sum())
    if not num_long or data.too_long == "drop":
        return batch
    if data.too_long == "truncate":
        counts.num_truncated += num_long
        return truncated(batch, data.sequence_length)
    pieces = chopped(batch, data.sequence_length)
    counts.num_split += len(pieces) - len(batch)
    return pieces


def _places(batch: TokenBatch) -> Lengths:
    """The place of each token in its sample, from 0."""
    starts = np.repeat(batch.tokens.bounds[:-1], lengths_of(batch))
    return np.arange(len(batch.tokens.ids)) - starts

"""Samples with images made to fit: an image is there as a whole, or not at all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fsft.recipes.schema import Data
from fsft.runtime.data.encode import TokenBatch
from fsft.runtime.data.fitting import Lengths, chopped, fitted, lengths_of, truncated
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import SourceCounts


def fitted_with_images(
    batch: TokenBatch,
    samples: Sequence[Sample],
    data: Data,
    counts: SourceCounts,
    image: ImageIds,
) -> tuple[TokenBatch, list[Sample]]:
    """As `fitted`, and the samples with the images that are left.

    A sample that could only be cut through an image stays as long as it is, to be left out; so
    does one with images that would have to be chopped.
    """
    limit = data.sequence_length
    lengths = lengths_of(batch)
    is_long = lengths > limit
    if not is_long.any() or data.too_long == "drop":
        return fitted(batch, data, counts), list(samples)
    if data.too_long == "split":
        has_images = np.asarray([bool(sample.images) for sample in samples])
        pieces = chopped(batch, np.where(has_images, np.maximum(lengths, 1), limit))
        counts.num_split += len(pieces) - len(batch)
        numbers = np.where(has_images, 1, -(-lengths // limit))
        return pieces, [s for s, n in zip(samples, numbers.tolist(), strict=True) for _ in range(n)]
    whole = lengths.copy()
    kept = list(samples)
    for index in np.flatnonzero(is_long).tolist():
        number = image.whole_before(_ids(batch, index), limit)
        if number is not None:
            whole[index] = limit
            kept[index] = replace(samples[index], images=samples[index].images[:number])
    counts.num_truncated += int((whole < lengths).sum())
    return truncated(batch, whole), kept


def _ids(batch: TokenBatch, index: int) -> Lengths:
    start, end = batch.tokens.bounds[index : index + 2]
    return batch.tokens.ids[start:end].astype(np.int64)

"""Samples with images made to fit: an image is there as a whole, or not at all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fsft.recipes.schema import Data
from fsft.runtime.data.encode import TokenBatch
from fsft.runtime.data.fitting import Lengths, lengths_of, truncated
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import SourceCounts


def fitted_with_images(
    batch: TokenBatch,
    samples: Sequence[Sample],
    data: Data,
    counts: SourceCounts,
    image: ImageIds | None,
) -> tuple[TokenBatch, None, list[Sample]]:
    """What SampleBatch takes: dialogues cut as data.too_long says, with the images that are left.

    One that could only be cut through an image stays as long as it is, to be left out.
    """
    limit = data.sequence_length
    lengths = lengths_of(batch)
    is_long = lengths > limit
    if image is None or data.too_long != "truncate":
        return batch, None, list(samples)
    whole = lengths.copy()
    kept = list(samples)
    for index in np.flatnonzero(is_long).tolist():
        number = image.whole_before(_ids(batch, index), limit)
        if number is not None:
            whole[index] = limit
            kept[index] = replace(samples[index], images=samples[index].images[:number])
    counts.num_truncated += int((whole < lengths).sum())
    return truncated(batch, whole), None, kept


def _ids(batch: TokenBatch, index: int) -> Lengths:
    start, end = batch.tokens.bounds[index : index + 2]
    return batch.tokens.ids[start:end].astype(np.int64)

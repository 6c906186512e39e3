"""A prepared sample as text, with what is learned told from what is not."""

from itertools import groupby
from typing import Any

from fsft.recipes.events import SampleShown
from fsft.runtime.data.encode import IGNORED, Encoded


def sample_shown(sample: Encoded, tokenizer: Any) -> SampleShown:
    """The decoded sample in runs of learned and masked tokens, decoded from the ids themselves."""
    tokens = zip(sample.input_ids.tolist(), (sample.labels != IGNORED).tolist(), strict=True)
    return SampleShown(
        segments=[
            (tokenizer.decode([token for token, _ in run]), learned)
            for learned, run in groupby(tokens, key=lambda pair: pair[1])
        ]
    )

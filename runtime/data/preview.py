"""A prepared sample as text, with what is learned told from what is not."""

from itertools import groupby

from fsft.recipes.events import SampleShown
from fsft.runtime.data.encode import IGNORED, Encoded
from fsft.runtime.data.text_tokenizer import TextTokenizer


def sample_shown(sample: Encoded, tokenizer: TextTokenizer) -> SampleShown:
    """The decoded sample in runs of learned and masked tokens, decoded from the ids themselves."""
    tokens = zip(sample.input_ids.tolist(), (sample.labels != IGNORED).tolist(), strict=True)
    return SampleShown(
        segments=[
            (tokenizer.decode([token for token, _ in run]), learned)
            for learned, run in groupby(tokens, key=lambda pair: pair[1])
        ]
    )

"""Samples as token ids, and which of them are learned.

`render` knows which characters are learned, and the tokenizer which of them a token covers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fsft.runtime.data.render import Rendered
from fsft.runtime.data.skeleton import Span

IGNORED = -100
"""The label of a token that is not learned, as in torch's cross entropy."""


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one sample, int32, both of its length."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]

    @property
    def num_labels(self) -> int:
        """The number of tokens that are learned."""
        return int((self.labels != IGNORED).sum())


def encode(rendered: Sequence[Rendered], tokenizer: Any) -> list[Encoded]:
    """The token ids of rendered samples; a token is learned when it touches a learned span."""
    if not rendered:
        return []
    tokens = tokenizer(
        [item.text for item in rendered],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    return [
        _labelled(ids, offsets, item.learned)
        for ids, offsets, item in zip(
            tokens["input_ids"], tokens["offset_mapping"], rendered, strict=True
        )
    ]


def _labelled(ids: list[int], offsets: list[Span], learned: Sequence[Span]) -> Encoded:
    """The first token of a sample has nothing before it to be predicted from: never learned."""
    input_ids = np.asarray(ids, dtype=np.int32)
    places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    mask = np.zeros(len(input_ids), dtype=bool)
    for start, end in learned:
        mask |= (places[:, 0] < end) & (places[:, 1] > start)
    mask[:1] = False
    return Encoded(input_ids, np.where(mask, input_ids, IGNORED).astype(np.int32))

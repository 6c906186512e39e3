"""What the loss takes at the head, whole or chunk by chunk."""

from functools import lru_cache
from typing import NamedTuple

from fsft.recipes.planner.job import Job

SMALLEST_CHUNK = 1024
"""Tokens below which a product no longer fills a device."""


DIVIDED_BYTES = 12.0
"""DeepSpeed's loss of a vocabulary that tensor parallel ranks divide takes three float32 tensors of
the logits in forward, besides those in a shorter type."""


class LossBytes(NamedTuple):
    """Bytes of logits, their loss, and what is computed with it."""

    peak: float
    kept: float
    """Left by forward for backward, without the gradient of what the head reads."""
    evaluated: float
    """At the peak without gradients."""


def chunk_tokens(hidden: int) -> int:
    """Tokens whose logits exist at once, for a head that reads `hidden` elements a token.

    As many as make the logits of a chunk no more than the head's weights, whose gradient is as
    large: fewer would save little, and write that gradient more often.
    """
    return max(SMALLEST_CHUNK, hidden)


def tokens_at_once(job: Job, tokens: float) -> float:
    """How many of the learned among `tokens` have their logits at once."""
    learned = tokens * job.logit_share
    if job.style.loss == "head" and not job.shape.changes_logits:
        return min(learned, chunk_tokens(_width(job)))
    return learned if job.loss_chunk is None else min(learned, job.loss_chunk)


@lru_cache(maxsize=4096)
def loss_bytes(job: Job, tokens: float, parts: int = 1) -> LossBytes:
    """For the tokens of one micro batch on one rank; `parts` is what the vocabulary is divided by.

    At the head, gradients come with the loss: those of the weights are added up in float32 over
    the chunks, where there are several.
    """
    style = job.style
    byte, learned = style.compute_bytes, tokens * job.logit_share
    vocabulary = job.shape.vocab_size / parts
    at_once = tokens_at_once(job, tokens)
    logits = at_once * vocabulary
    losing, evaluated = logits * style.logit_bytes, logits * style.evaluated_logit_bytes
    kept = learned * vocabulary * style.kept_logit_bytes
    if style.loss == "head" and parts > 1:
        losing = evaluated = logits * (DIVIDED_BYTES + (byte if byte < 4 else 0.0))
        kept = 4 * learned * vocabulary
    if style.loss == "logits" or job.shape.changes_logits:
        return LossBytes(losing, kept, evaluated)
    weights = 0.0 if job.method.freezes else vocabulary * _width(job)
    adding, product = (4.0, weights * byte) if learned > at_once else (byte, 0.0)
    slopes = logits * style.logit_bytes / 2
    peak = adding * weights + max(losing, slopes + product) + byte * learned * _width(job)
    return LossBytes(peak, byte * weights, evaluated)


def _width(job: Job) -> int:
    return job.shape.embedding_width or job.shape.hidden

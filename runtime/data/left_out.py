"""What was left out of a source, in words."""

from collections.abc import Sequence

from fsft.recipes.problems import Problem, Refused
from fsft.runtime.data.samples import SourceCounts


def require_samples(sources: Sequence[SourceCounts]) -> None:
    """Raise Refused where no sample of any source of a split is used."""
    if any(source.num_used for source in sources):
        return
    raise Refused(
        *(
            Problem(
                file=source.path,
                reason=f"no sample is left to learn from; rows: {left_out(source) or 'none'}.",
                example=_what_helps(source),
            )
            for source in sources
        )
    )


def _what_helps(source: SourceCounts) -> str:
    if source.num_too_long == source.num_read:
        return 'too_long = "split", or a longer data.sequence_length'
    return "check data.template, data.sequence_length and the answers in the file"


def left_out(source: SourceCounts) -> str:
    """How many rows were left out, by reason, and the first broken one; empty when none was."""
    reasons = {
        "that could not be read": source.num_broken,
        "empty": source.num_empty,
        "longer than sequence_length": source.num_too_long,
        "in which the chat template leaves no token to learn": source.num_fully_masked,
    }
    told = ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)
    first = source.first_broken.rstrip(".")
    return f"{told}; the first that could not be read is {first}" if first else told

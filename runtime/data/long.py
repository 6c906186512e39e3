"""Dialogues that are longer than a row, split by the number of their tokens."""

from fsft.recipes.schema import Data
from fsft.runtime.data.dialogues import Parts, split
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.sample_writer import SampleWriter


def can_split(sample: Sample) -> bool:
    """Whether a sample has turns to split at; both dialogues of a preference must stay whole."""
    return bool(sample.messages) and not sample.rejected


def split_by_tokens(sample: Sample, writer: SampleWriter, data: Data) -> Parts:
    """The parts of a dialogue that is longer than data.sequence_length.

    Raises ValueError where the chat template cannot write a part.
    """

    def count_tokens(part: Sample) -> int:
        return writer.tokenizer.count(writer.write(part).text)

    last_only = data.loss_on == "last"
    return split(sample, data.sequence_length, count_tokens, last_answer_only=last_only)

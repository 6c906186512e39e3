"""M2 blocks: a sentence, and the edits that make it right, as in grammatical error correction.

Each block is a line "S" with the tokens of the sentence, and lines "A start end|||type|||text|||
required|||comment|||annotator" with the edits (Dahlmeier and Ng, 2012).
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fsft.runtime.data.sample import Sample
from fsft.runtime.data.shapes.fields import text_field
from fsft.runtime.data.shapes.turns import turn

_NO_EDIT = ("noop", "UNK", "Um")
_NOTHING = "-NONE-"


class _Edit(NamedTuple):
    start: int
    end: int
    text: str
    annotator: str


def from_m2(row: Mapping[str, Any]) -> Sample:
    """The sentence as it is, and as the first annotator corrects it."""
    lines = text_field(row, "m2").strip("\n").split("\n")
    if not lines[0].startswith("S"):
        raise ValueError("an m2 block must begin with a line S and the sentence")
    sentence = lines[0][1:].strip()
    edits = list(_edits(lines[1:]))
    first = [edit for edit in edits if edit.annotator == edits[0].annotator]
    corrected = _apply(sentence.split(), first)
    return Sample(messages=(turn("user", sentence), turn("assistant", corrected)))


def _edits(lines: list[str]) -> Iterator[_Edit]:
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        fields = line[1:].strip().split("|||")
        place = fields[0].split()
        if not line.startswith("A ") or len(fields) < 6 or len(place) != 2:
            raise ValueError(f"line {number} of the m2 block is no edit: {line[:60]!r}")
        try:
            start, end = map(int, place)
        except ValueError:
            raise ValueError(f"line {number} of the m2 block has no place of an edit") from None
        # Of several corrections, parted by ||, the first is as right as the others.
        text = fields[2].split("||")[0]
        changes = fields[1] not in _NO_EDIT and start >= 0
        yield _Edit(start if changes else -1, end, "" if text == _NOTHING else text, fields[5])


def _apply(tokens: list[str], edits: list[_Edit]) -> str:
    """The sentence with its edits, which must lie within it and not overlap."""
    corrected: list[str] = []
    done = 0
    for edit in sorted((edit for edit in edits if edit.start >= 0), key=lambda edit: edit[:2]):
        if not done <= edit.start <= edit.end <= len(tokens):
            raise ValueError(
                f"the edit at {edit.start} {edit.end} overlaps another or lies outside the sentence"
            )
        corrected += [*tokens[done : edit.start], *edit.text.split()]
        done = edit.end
    return " ".join([*corrected, *tokens[done:]])

"""The language of a text, told offline."""

import re
from functools import cache
from typing import Any

UNKNOWN = "unknown"
_MOST_CHARACTERS = 300
"""More hardly ever change the answer, and take most of the time of all checks."""
_LEAST_CONFIDENCE = 0.2
"""Of formulas, code and single words the model is never surer than this; of sentences it is."""
_NO_LANGUAGE = re.compile(r"https?://\S+|\S+@\S+|[\d_]+")
_TWO_LETTERS = re.compile(r"[^\W\d_].*[^\W\d_]", re.DOTALL)
_LEFT_OUT = {"an", "la", "lg", "st", "vo"}
"""Rare in chats, and what short English sentences are taken for."""


def language_of(text: str) -> str:
    """The ISO 639-1 code of the main language, or UNKNOWN."""
    head = _NO_LANGUAGE.sub(" ", text[:_MOST_CHARACTERS])
    if not _TWO_LETTERS.search(head):
        return UNKNOWN
    language, confidence = _identifier().classify(head)
    return str(language) if confidence >= _LEAST_CONFIDENCE else UNKNOWN


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Three letters stand for dialects and small languages: Cantonese would take 你好 for its own.
    names = (name for name in identifier.labels if len(name) == 2)
    identifier.set_languages([name for name in names if name not in _LEFT_OUT])
    return identifier

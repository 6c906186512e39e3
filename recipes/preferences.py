"""Data that says which answers people liked: it is prepared, and full training cannot use it."""

from collections.abc import Callable, Iterator

from fsft.recipes.problems import Problem
from fsft.recipes.schema import SPLITS, Data, Source

PREFERENCES = ("preference", "kto")


def preference_problems(data: Data, format_of: Callable[[Source], str]) -> Iterator[Problem]:
    """The sources that full training cannot learn from.

    `format_of` says the shape of their rows, or "auto" where that is not known yet.
    """
    for split in SPLITS:
        for index, source in enumerate(getattr(data, split)):
            if (kind := format_of(source)) in PREFERENCES:
                yield Problem(
                    key=f"data.{split}.{index}.format",
                    file=source.path,
                    reason=f"the {kind} shape says which answers people liked; full training "
                    "learns from answers alone.",
                    example="fsft data tokenize prepares it for other trainers",
                )


def format_in_recipe(source: Source) -> str:
    """The shape that the recipe itself says."""
    return source.format

"""Looking through the data of a recipe for what should not be there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.data.quality.contamination import GramOverlap
from fsft.runtime.data.quality.duplicates import Pair, SeenTexts, Sketched
from fsft.runtime.data.quality.result import Contamination, Quality
from fsft.runtime.data.quality.split import EXAMPLES, CountTokens, SplitCheck, windows
from fsft.runtime.data.quality.texts import Place, Reading
from fsft.runtime.data.tokenizer import make_tokenizer

MOST_SAMPLES = 100_000
"""Of a split that are looked at, unless told otherwise: some 4 KiB of memory each."""


def check_quality(
    recipe: Recipe,
    most_samples: int = MOST_SAMPLES,
    tell: Callable[[str, int], None] = lambda *_: None,
) -> Quality:
    """Duplicates, languages, lengths, hints at personal data and secrets, contamination.

    Of a split with more than `most_samples` samples the first ones of each source are looked at,
    and the result says so. Paths must be resolved. `tell` hears the split and the samples so far.
    Raises Refused where data cannot be read.
    """
    data, count_tokens = recipe.data, _token_counter(recipe)
    overlap = GramOverlap()
    checks = {"eval": SplitCheck("eval", count_tokens), "train": SplitCheck("train", count_tokens)}
    readings: dict[str, list[Reading]] = {"eval": [], "train": []}
    seen_in_eval = checks["eval"].seen
    matches = _Matches()
    for name, sources in (("eval", data.eval), ("train", data.train)):
        done = 0
        for window in windows(sources, data, most_samples, readings[name]):
            sketched = checks[name].add(window)
            texts = [text.text for text in window]
            if name == "eval":
                overlap.add_eval([text.place for text in window], texts)
            elif data.eval:
                overlap.add_train(texts)
                matches.add(sketched, seen_in_eval)
            done += len(window)
            tell(name, done)
    splits = {name: check.result(readings[name]) for name, check in checks.items()}
    return Quality(
        splits=(splits["train"], splits["eval"]) if data.eval else (splits["train"],),
        contamination=matches.result(overlap.seen()) if data.eval else None,
        most_samples=most_samples,
    )


@dataclass
class _Matches:
    """Evaluation samples and the training sample that each is like."""

    exact: dict[Place, Place] = field(default_factory=dict)
    near: dict[Place, Place] = field(default_factory=dict)

    def add(self, train: Sequence[Sketched], seen_in_eval: SeenTexts) -> None:
        found = seen_in_eval.look(train)
        for matches, places in ((self.exact, found.exact), (self.near, found.near)):
            for text, place in zip(train, places, strict=True):
                if place is not None:
                    matches.setdefault(place, text.place)

    def result(self, by_grams: Sequence[Place]) -> Contamination:
        near = {place: of for place, of in self.near.items() if place not in self.exact}
        alike = self.exact | near
        return Contamination(
            num_exact=len(self.exact),
            num_near=len(near),
            num_grams=sum(place not in alike for place in by_grams),
            examples=tuple(
                Pair(place, of, place in self.exact) for place, of in list(alike.items())[:EXAMPLES]
            ),
        )


def _token_counter(recipe: Recipe) -> CountTokens | None:
    """How to count tokens, where the model has a tokenizer on this machine."""
    if recipe.data.tokenizer is not None:
        return None
    try:
        tokenizer: Any = make_tokenizer(recipe, iter(()))
    except Refused:
        return None
    return lambda texts: [
        len(ids) for ids in tokenizer(list(texts), add_special_tokens=False).input_ids
    ]

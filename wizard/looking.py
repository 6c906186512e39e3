"""What is wrong with the files that a recipe names, without looking at all of them for each key."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from fsft.recipes.inputs import missing_inputs, without_eval
from fsft.recipes.preferences import format_in_recipe, preference_problems
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import SPLITS, Recipe, Source
from fsft.recipes.shipped import resolve_path

LOOKED_AT_AGAIN = 100
"""Data files that are looked at again each time, though they were before; some milliseconds."""

Named = tuple[str, str | None, str | None]
"""All that a data set names: its path, its images, its template."""


class Files:
    """Remembers what was wrong with data files.

    A file is looked at when it is first named, and from then on when its turn comes: as many as
    `LOOKED_AT_AGAIN` each time, those first that were not looked at for longest.
    """

    def __init__(self, missing: Callable[[Recipe, Path], list[Problem]] = missing_inputs) -> None:
        self._missing = missing
        self._found: dict[tuple[Path, Named], tuple[Problem, ...]] = {}

    def problems(self, recipe: Recipe, folder: Path) -> list[Problem]:
        """As `fsft run` finds them before it reads data, and what cannot be a path."""
        if wrong := list(_no_paths(recipe, folder)):
            return wrong
        named = {(folder, _named(source)): source for _, _, source in _sources(recipe)}
        # What was seen stands in the order in which it was seen.
        known = [each for each in self._found if each in named]
        due = [*(named.keys() - self._found.keys()), *islice(known, LOOKED_AT_AGAIN)]
        rest = self._look(recipe, folder, [named[each] for each in due])
        return [
            *self._of_data(recipe, folder),
            *rest,
            *without_eval(recipe),
            *preference_problems(recipe.data, format_in_recipe),
        ]

    def _look(self, recipe: Recipe, folder: Path, due: Sequence[Source]) -> list[Problem]:
        """Look at these files; returns what is wrong with all else that the recipe names."""
        found: dict[Named, list[Problem]] = {_named(source): [] for source in due}
        paths = []
        for source in due:
            if wrong := _no_path("path", source.path, folder):
                found[_named(source)].append(wrong)
            else:
                paths.append(source)
        data = recipe.data.model_copy(update={"train": paths, "eval": []})
        rest = []
        for problem in self._missing(recipe.model_copy(update={"data": data}), folder):
            table, _, key = problem.key.partition("data.train.")
            if table or not key:
                rest.append(problem)
            else:
                index, _, key = key.partition(".")
                found[_named(paths[int(index)])].append(replace(problem, key=key))
        for each, problems in found.items():
            self._found.pop((folder, each), None)
            self._found[folder, each] = tuple(problems)
        return rest

    def _of_data(self, recipe: Recipe, folder: Path) -> Iterator[Problem]:
        for split, index, source in _sources(recipe):
            for problem in self._found[folder, _named(source)]:
                yield replace(problem, key=f"data.{split}.{index}.{problem.key}")


def _named(source: Source) -> Named:
    return source.path, source.images, source.template


def _sources(recipe: Recipe) -> Iterator[tuple[str, int, Source]]:
    for split in SPLITS:
        for index, source in enumerate(getattr(recipe.data, split)):
            yield split, index, source


def _no_paths(recipe: Recipe, folder: Path) -> Iterator[Problem]:
    """What cannot even be looked for, such as the home of nobody."""
    named = (
        ("data.template", recipe.data.template),
        ("model.path", recipe.model.path or ""),
        ("parallel.offload_path", recipe.parallel.offload_path or ""),
    )
    for key, text in named:
        if problem := _no_path(key, text, folder):
            yield problem


def _no_path(key: str, text: str, folder: Path) -> Problem | None:
    try:
        resolve_path(text, folder)
    except Refused as error:
        return replace(error.problems[0], key=key)
    return None

"""Results that are kept only where the files that they were made of stayed as they were hashed."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fsft.recipes.data_files import is_url
from fsft.recipes.fingerprint import file_sha256, fingerprint
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Recipe
from fsft.runtime.fingerprints import Input, inputs_as_they_are
from fsft.runtime.run_directory import resumed_folder

MOST_NAMED = 20
"""Changed files that are named at once."""


@contextmanager
def resumed_from(
    target: Path, made_by: str, recipe: Recipe, inputs: Sequence[Input]
) -> Iterator[Path]:
    """As resumed_folder, for what is made of `inputs`; `made_by` is its fingerprint.

    Raises Refused at the end where an input changed meanwhile, and keeps nothing then.
    """
    # A file that changes while it is read, and is then put back, has its old hash but a new stamp:
    # what a killed process made of it is not gone on with.
    key = fingerprint([made_by, [item.stamp for item in inputs]])
    with resumed_folder(target, key) as folder:
        yield folder
        if inputs and (problems := list(_changes(recipe, inputs))):
            shutil.rmtree(folder)
            raise Refused(*problems[:MOST_NAMED])


def _changes(recipe: Recipe, inputs: Sequence[Input]) -> Iterator[Problem]:
    """What is wrong with files that are not as they were, and with those that were not there."""
    before, now = _states(inputs), _states(inputs_as_they_are(recipe))
    hashes = {item.path: item.sha256 for item in inputs}
    for path in before | now:
        if path not in before:
            yield Problem(file=path, reason="was added while the data was read; run again.")
        elif before[path] != now.get(path) and not (
            _differ_by_ctime(before[path], now.get(path)) and _has_hash(path, hashes[path])
        ):
            yield Problem(file=path, reason="changed while it was read; run again.")


def _differ_by_ctime(before: object, now: object) -> bool:
    """Whether two stamps differ by what a new mode, owner or link changes alone."""
    if not isinstance(before, tuple) or not isinstance(now, tuple) or len(before) != len(now):
        return False
    return [*before[:2], *before[3:]] == [*now[:2], *now[3:]]


def _has_hash(path: str, sha256: str) -> bool:
    try:
        return bool(sha256) and file_sha256(Path(path)) == sha256
    except OSError:
        return False


def _states(inputs: Iterable[Input]) -> dict[str, object]:
    """How each data file is, by its path; sets of the hub are read at one commit."""
    return {
        item.path: item.stamp or (item.num_bytes, item.version)
        for item in inputs
        if item.stamp or is_url(item.path)
    }

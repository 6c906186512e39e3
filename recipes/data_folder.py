"""Which files of a folder are data."""

import os
from collections.abc import Iterator
from pathlib import Path

from fsft.recipes.data_files import is_passed_over, is_saved_set, read_name


def data_below(folder: Path) -> Iterator[Path]:
    """The data files below a folder, and folders that `datasets` saved; sorted by name.

    Links are followed, and each folder is looked into once, so that links in a circle are harmless.
    Raises OSError with the name of what cannot be looked at.
    """
    seen: set[str] = set()
    # A list instead of recursion: folders may lie deeper than Python's stack.
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if not path.is_dir():
            yield path
            continue
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        if is_saved_set(path):
            yield path
        else:
            waiting.extend(sorted(_entries(path), reverse=True))


def _entries(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_passed_over(entry.name) and (read_name(entry.name) or entry.is_dir()):
                yield Path(entry.path)

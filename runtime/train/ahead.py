"""Work that is done while something else is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """What `make` makes of each item, in order; the next one is made while this one is used."""
    rest = iter(items)
    try:
        made = make(next(rest))
    except StopIteration:
        return
    # No thread is started for one item alone.
    with ThreadPoolExecutor(1) as thread:
        for item in rest:
            upcoming = thread.submit(make, item)
            yield made
            made = upcoming.result()
    yield made

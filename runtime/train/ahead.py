"""Work that is done while something else is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """What `make` makes of each item, in order; the next one is made while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        ready = None
        for item in items:
            upcoming = thread.submit(make, item)
            if ready is not None:
                yield ready.result()
            ready = upcoming
        if ready is not None:
            yield ready.result()

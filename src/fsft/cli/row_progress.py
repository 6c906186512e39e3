"""Rows done and the time that is left, on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fsft.recipes.units import format_count, format_span

_PLAIN_SECONDS = 10.0
"""Between two lines where nothing can be redrawn."""

Tell = Callable[[str, int, int], None]


@contextmanager
def row_progress() -> Iterator[Tell]:
    """Something to tell of progress: (what is done, rows done, rows in all)."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tell


@contextmanager
def count_progress() -> Iterator[Callable[[str, int], None]]:
    """Something to tell of progress where nobody knows the whole: (what is done, samples done)."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _name, _done: None
        return
    with console.status("reading") as status:
        yield lambda name, done: status.update(f"{name}: {done:,} samples")


def _plain_lines(console: Console) -> Tell:
    shown = time.monotonic()
    started: dict[str, float] = {}

    def tell(name: str, done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        begun = started.setdefault(name, now)
        if now - shown < _PLAIN_SECONDS or now == begun:
            return
        shown = now
        left = (now - begun) / max(1, done) * (total - done)
        numbers = f"{format_count(float(done))} of {format_count(float(total))} rows"
        console.print(f"{name}: {numbers}, {format_span(left)} left", soft_wrap=True)

    return tell

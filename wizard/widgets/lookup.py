"""Names to pick from, narrowed down by what is typed."""

from collections.abc import Callable, Iterable

from textual import on
from textual.content import Content
from textual.message import Message

from fsft.wizard.widgets.lines import Rows

Names = Iterable[tuple[str, str]]
"""Name, and a word on it that stands before."""


class Lookup(Rows):
    """A list under a field."""

    class Named(Message):
        """A person took a name."""

        def __init__(self, key: str, name: str) -> None:
            super().__init__()
            self.key = key
            self.name = name

    def __init__(self, key: str, names: Callable[[], Names]) -> None:
        super().__init__(id=f"lookup-{key.replace('.', '-')}")
        self.key = key
        self._all = names
        self._names: tuple[str, ...] = ()

    def narrow(self, typed: str, meant: str = "") -> None:
        """Show the names that hold every word of `typed`; all where none does or nothing is.

        The pointer stands on the name that is `meant` by it.
        """
        words = typed.lower().replace("/", " ").split()
        names = list(self._all())
        found = [row for row in names if all(word in row[0].lower() for word in words)] or names
        shown = tuple(name for name, _ in found)
        if shown != self._names:
            self._names = shown
            self.top = 0
            self.cursor = shown.index(meant) if meant in shown else 0
            width = max(len(word) for _, word in names)
            self.show(
                [Content.assemble((f"{word:>{width}}  ", "dim"), name) for name, word in found]
            )

    @on(Rows.Picked)
    def _taken(self, event: Rows.Picked) -> None:
        event.stop()
        self.post_message(self.Named(self.key, self._names[event.index]))

"""A Textual program in which keys have their effect in the order in which they were pressed."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from textual import events
from textual.app import App
from textual.dom import DOMNode

Returned = TypeVar("Returned")


class InOrderApp(App[Returned], Generic[Returned]):
    """Letters go to a widget at once; all other keys go up through each widget's queue first.

    So a letter would overtake an Enter before it, and land where the cursor was then. Here what
    comes after such a key waits until the key has had its effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Event] = deque()
        """What waits for its turn."""
        self._is_waiting = False

    async def on_event(self, event: events.Event) -> None:
        """Take what comes; what is typed, in its turn."""
        if event.is_forwarded or not isinstance(event, events.Key | events.Paste):
            await super().on_event(event)
        elif self._is_waiting:
            self._typed.append(event)
        else:
            await self._take(event)

    def soon(self, deed: Callable[[], object]) -> None:
        """Do it when what was typed just before has arrived from its widget."""
        _through(self._way(), deed)

    async def _take(self, event: events.Event) -> None:
        way = self._way()
        # Other screens go away, with all that is on its way through them.
        is_lasting = len(self.screen_stack) == 1
        await super().on_event(event)
        if is_lasting and isinstance(event, events.Key) and not event.is_printable:
            self._is_waiting = True
            # Once behind the key, and once behind what the key has set off.
            _through(way, partial(_through, way, self._go_on))

    async def _go_on(self) -> None:
        self._is_waiting = False
        while self._typed and not self._is_waiting:
            await self._take(self._typed.popleft())

    def _way(self) -> list[DOMNode]:
        return list(self.focused.ancestors_with_self) if self.focused else [self]


def _through(way: list[DOMNode], deed: Callable[[], object]) -> None:
    """Do it at the end of each queue, and once more: a message may leave another there."""
    for node in reversed(way):
        deed = partial(node.call_later, partial(node.call_later, deed))
    deed()

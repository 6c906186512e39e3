"""One of a few values, all of them in sight."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Choice(Widget, can_focus=True):
    """Left and right go through the values; a click takes one. Marked by glyph, not by colour."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous value", show=False),
        Binding("right,space", "move(1)", "Next value", show=False),
        Binding("enter", "submit", "Next step"),
    ]

    value: reactive[str] = reactive("")

    class Submitted(Message):
        """A person is content with it."""

    def __init__(self, choices: Sequence[str], value: str = "") -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.set_reactive(Choice.value, value)

    def render(self) -> Content:
        """All values, in as many lines as they need."""
        lines = [
            Content("  ").join(map(self._shown, line)) for line in self._lines(self.size.width)
        ]
        if self.value and self.value not in self.choices:
            lines.append(Content.from_markup("[$error]✗ $x[/]", x=self.value))
        return Content("\n").join(lines)

    def get_content_height(self, _container: Size, _viewport: Size, width: int) -> int:
        """One line, or more where the values do not fit into it."""
        return len(self._lines(width)) + (bool(self.value) and self.value not in self.choices)

    def action_move(self, step: int) -> None:
        """Take the value beside, round and round."""
        index = self.choices.index(self.value) if self.value in self.choices else -1
        self.value = self.choices[(index + step) % len(self.choices)]

    def action_submit(self) -> None:
        """Go on."""
        self.post_message(self.Submitted())

    def on_click(self, event: events.Click) -> None:
        """Take the value under the pointer."""
        lines = self._lines(self.size.width)
        if event.y >= len(lines):
            return
        start = 0
        for choice in lines[event.y]:
            end = start + len(choice) + 2
            if start <= event.x < end:
                self.value = choice
            start = end + 2

    def _lines(self, width: int) -> list[list[str]]:
        lines: list[list[str]] = [[]]
        for choice in self.choices:
            used = sum(len(other) + 4 for other in lines[-1])
            if lines[-1] and used + len(choice) + 2 > width:
                lines.append([])
            lines[-1].append(choice)
        return lines

    def _shown(self, choice: str) -> Content:
        if choice == self.value:
            return Content.from_markup("[bold $primary]● $x[/]", x=choice)
        return Content.from_markup("[dim]○[/] $x", x=choice)

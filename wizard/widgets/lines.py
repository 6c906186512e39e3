"""Lines in a window of fixed height: to read, or to pick one from.

Textual's own lists lay the whole screen out anew when they change, which is too slow for something
that changes with each key.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

TRACK, THUMB = "│", "┃"
POINTER = "▸"


class Lines(Widget, can_focus=True):
    """Text to scroll through. At either end the arrow keys go on to the next field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(-1)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
    ]

    top: reactive[int] = reactive(0)
    """The first line in sight."""

    def __init__(self, *, id: str, lines: Sequence[Content] = ()) -> None:  # noqa: A002
        super().__init__(id=id)
        self.lines: tuple[Content, ...] = tuple(lines)

    def show(self, lines: Sequence[Content]) -> None:
        """Show other lines, from where one was."""
        before, self.lines = self.lines, tuple(lines)
        # Out of sight there is no height to go by.
        if len(before) != len(self.lines) or not self.size.height:
            self.top = self._within(self.top)
            self.refresh()
            return
        in_sight = range(self.top, min(self.top + self.size.height, len(before)))
        changed = [index for index in in_sight if before[index] != self.lines[index]]
        if changed:
            width = self.size.width
            self.refresh(*(Region(0, index - self.top, width, 1) for index in changed))

    def render(self) -> Content:
        """The lines in sight, with a track where there are more."""
        height, width = self.size.height, self.size.width
        is_long = len(self.lines) > height
        room = max(1, width - (2 if is_long else 0))
        shown = []
        for place, line in enumerate(self.lines[self.top : self.top + height]):
            text = self.line(self.top + place, line).truncate(room, ellipsis=True)
            if is_long:
                text = Content.assemble(
                    text.pad_right(room - text.cell_length + 1),
                    (self._track(place), "$primary 60%"),
                )
            shown.append(text)
        return Content("\n").join(shown)

    def line(self, _index: int, line: Content) -> Content:
        """A line as it is shown."""
        return line

    def action_move(self, step: int) -> None:
        """A line on, or to the field beside."""
        if self._within(self.top + step) == self.top:
            self._leave(step)
        self.top = self._within(self.top + step)

    def action_page(self, step: int) -> None:
        """A window on."""
        self.top = self._within(self.top + step * max(1, self.size.height - 1))

    def action_edge(self, step: int) -> None:
        """To the first or the last line."""
        self.top = self._within(0 if step < 0 else len(self.lines))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the window."""
        self._wheel(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the window."""
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, step: int) -> None:
        if self._within(self.top + step) != self.top:
            event.stop()
            self.top = self._within(self.top + step)

    def _leave(self, step: int) -> None:
        if step < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def _within(self, top: int) -> int:
        return max(0, min(top, len(self.lines) - self.size.height))

    def _track(self, place: int) -> str:
        height, number = self.size.height, len(self.lines)
        start = self.top * height // number
        end = max(start + 1, (self.top + height) * height // number)
        return THUMB if start <= place < end else TRACK


class Rows(Lines):
    """Lines of which one is picked with Enter or a click. The pointer is there without colour."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "pick", "Take it")]

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The pointer is at another line."""

        def __init__(self, rows: "Rows", index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

        @property
        def control(self) -> "Rows":
            """The widget, for `on` with a selector."""
            return self.rows

    class Picked(Moved):
        """A person took the line."""

    def show(self, lines: Sequence[Content]) -> None:
        """Show other lines; the pointer stays where it was, if there is still a line."""
        super().show(lines)
        self.cursor = max(0, min(self.cursor, len(self.lines) - 1))

    def line(self, index: int, line: Content) -> Content:
        """With the pointer in front."""
        if index != self.cursor:
            return Content.assemble("  ", line)
        style = "bold $primary" if self.has_focus else "bold"
        return Content.assemble((f"{POINTER} ", style), line.stylize(style))

    def action_move(self, step: int) -> None:
        """A line on, or to the field beside."""
        target = self.cursor + step
        if not 0 <= target < len(self.lines):
            self._leave(step)
        else:
            self._go(target)

    def action_page(self, step: int) -> None:
        """A window on."""
        self._go(self.cursor + step * max(1, self.size.height - 1))

    def action_edge(self, step: int) -> None:
        """To the first or the last line."""
        self._go(0 if step < 0 else len(self.lines) - 1)

    def action_pick(self) -> None:
        """Take the line of the pointer."""
        if self.lines:
            self.post_message(self.Picked(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Take the line under the mouse."""
        index = self.top + event.y
        if index < len(self.lines):
            self._go(index)
            self.action_pick()

    def on_focus(self) -> None:
        """The pointer gets its colour."""
        self.refresh()

    def on_blur(self) -> None:
        """The pointer loses its colour."""
        self.refresh()

    def _go(self, index: int) -> None:
        self.cursor = max(0, min(index, len(self.lines) - 1))
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + self.size.height:
            self.top = self.cursor - self.size.height + 1
        self.refresh()
        self.post_message(self.Moved(self, self.cursor))

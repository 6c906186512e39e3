"""Changing text on the screen, with no more work than the change needs."""

from rich.console import RenderableType
from textual.content import Content
from textual.widgets import Static


def set_text(widget: Static, text: Content | str | RenderableType, *, resizes: bool = True) -> None:
    """Show `text`; the screen is laid out anew only where the widget's size depends on it."""
    if widget.content != text:
        widget.update(text, layout=resizes)

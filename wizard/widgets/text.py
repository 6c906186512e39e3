"""Changing text on the screen, with no more work than the change needs."""

import re

from rich.console import RenderableType
from textual.content import Content
from textual.widgets import Static

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """Text of others without what a terminal would obey; control characters become ·."""
    return _CONTROL.sub("·", _ESCAPE.sub("", text)).expandtabs(4)


def set_text(widget: Static, text: Content | str | RenderableType, *, resizes: bool = True) -> None:
    """Show `text`; the screen is laid out anew only where the widget's size depends on it."""
    if widget.content != text:
        widget.update(text, layout=resizes)

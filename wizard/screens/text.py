"""Something to read, over the wizard: help, arithmetic."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class TextScreen(ModalScreen[None]):
    """Any of the keys that people press to get rid of something ends it."""

    AUTO_FOCUS = "*"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,f1,f2", "dismiss", "Back"),
    ]

    def __init__(self, title: str, text: Content) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """A title and the text."""
        with Vertical(classes="dialog -tall"):
            yield Static(Content.styled(self._title, "bold"), classes="question")
            with VerticalScroll():
                yield Static(self._text)
            yield Static(Content.styled("Esc goes back", "dim"))

"""The last screen: what was written, and what comes next."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from fsft.wizard.saving import run_command


class Done(ModalScreen[bool]):
    """Ends with True where the recipe shall be run now."""

    AUTO_FOCUS = "*"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(False)", "Leave"),
        Binding("r,f6", "dismiss(True)", "Run it now"),
        Binding("c,f8", "copy", "Copy the command"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._command = run_command(str(path))
        self._path = path

    def compose(self) -> ComposeResult:
        """The file, the next command, and what may be done with it."""
        with Vertical(classes="dialog"):
            yield Static(
                Content.from_markup("[bold $success]✓ Wrote $path[/]", path=str(self._path))
            )
            yield Static(Content.from_markup("\nNext:  [b]$command[/b]", command=self._command))
            with Horizontal(classes="buttons"):
                yield Button("Leave (Enter)", id="leave", compact=True)
                yield Button("Run it now (r)", id="run", variant="success", compact=True)
                yield Button("Copy (c)", id="copy", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The buttons."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(event.button.id == "run")

    def action_copy(self) -> None:
        """Put the command onto the clipboard."""
        self.app.copy_to_clipboard(self._command)
        self.notify(f"On the clipboard: {self._command}")

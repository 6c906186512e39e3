"""`fsft watch`: the monitor as a program of its own."""

import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from fsft.recipes.run_files import RunFiles
from fsft.wizard.monitor.screen import MonitorScreen
from fsft.wizard.theme import DARK, LIGHT, THEMES


class WatchApp(App[None]):
    """Looks at one run until a person has seen enough."""

    TITLE = "fsft watch"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="quit", priority=True, show=False),
        Binding("ctrl+c", "quit", "Quit", id="interrupt", priority=True, show=False),
    ]

    def __init__(
        self, run: RunFiles, *, theme: str = "dark", clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = THEMES[theme]
        self._files = run
        self._clock = clock

    def on_mount(self) -> None:
        """Straight to the run."""
        self.push_screen(MonitorScreen(self._files, self._clock), lambda _: self.exit())

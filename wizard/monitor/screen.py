"""A run on the screen, brought up to date twice a second; it does not notice."""

import time
from collections.abc import Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Markdown, Static

from fsft.recipes.events import EventReader
from fsft.recipes.lock import expected_of
from fsft.recipes.run_files import RunFiles
from fsft.wizard.monitor.chart import chart
from fsft.wizard.monitor.run_state import log_tail
from fsft.wizard.monitor.snapshot import Snapshot, follow
from fsft.wizard.monitor.view import figure_lines, head, stage_lines
from fsft.wizard.widgets.lines import Lines
from fsft.wizard.widgets.text import set_text, visible

LOOK_SECONDS = 0.5
LOG_LINES = 200


class MonitorScreen(Screen[None]):
    """Stages, loss curve, figures and log of a run; of a finished one, its report."""

    CSS_PATH = "monitor.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "leave", "Leave (the run goes on)", id="leave"),
        Binding("r", "show('report')", "Report", id="report"),
        Binding("p", "show('progress')", "Progress", id="progress"),
    ]

    def __init__(self, run: RunFiles, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._files = run
        self._clock = clock
        self._reader = EventReader(run.events_file)
        self._chose = False
        self._is_looking = False
        self._drawn: tuple[object, ...] = ()
        self.snapshot = Snapshot()

    def compose(self) -> ComposeResult:
        """A head, and progress or report."""
        yield Static("", id="run-head")
        with ContentSwitcher(initial="progress", id="pages"):
            with Vertical(id="progress"):
                yield Static("", id="stages")
                with Horizontal(id="training"):
                    yield Static("", id="figures")
                    yield Static("", id="curve")
                yield Static("", id="messages")
                yield Static("", id="log-name")
                yield Lines(id="log")
            with VerticalScroll(id="report"):
                yield Markdown("", id="report-text")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Look now, and again and again."""
        self._look()
        self.set_interval(LOOK_SECONDS, self._look)

    def on_resize(self) -> None:
        """The curve takes the room that there is."""
        self.call_after_refresh(self._show)

    def _look(self) -> None:
        # A long file takes longer than the time between two looks.
        if not self._is_looking:
            self._is_looking = True
            self._read()

    @work(thread=True)
    def _read(self) -> None:
        events = self._reader.new()
        snapshot = follow(self.snapshot, events)
        log = log_tail(self._files, LOG_LINES)
        self.app.call_from_thread(self._take, snapshot, log)

    def _take(self, snapshot: Snapshot, log: tuple[str, list[str]]) -> None:
        self._is_looking = False
        if not self.query("#log-name"):
            # The program ends, and has taken the screen down while the file was read.
            return
        ended = bool(snapshot.verdict) and snapshot.verdict != self.snapshot.verdict
        self.snapshot = snapshot
        name, lines = log
        set_text(self.query_one("#log-name", Static), Content.styled(name, "dim"), resizes=False)
        window = self.query_one("#log", Lines)
        follows = window.top >= len(window.lines) - window.size.height
        window.show([Content(visible(line)) for line in lines])
        if follows:
            window.action_edge(1)
        self._show()
        if ended:
            self._read_report()

    def _show(self) -> None:
        snapshot, now = self.snapshot, self._clock()
        set_text(
            self.query_one("#run-head", Static), head(snapshot, self._files, now), resizes=False
        )
        set_text(self.query_one("#stages", Static), _joined(stage_lines(snapshot, now)))
        # A line more takes a row from the log, where there are few.
        self.set_class(snapshot.eval_loss is not None, "-eval")
        figures = figure_lines(snapshot, expected_of(self._files.lock_file))
        set_text(self.query_one("#figures", Static), _joined(figures), resizes=False)
        curve = self.query_one("#curve", Static)
        if (snapshot.losses, curve.size) != self._drawn:
            self._drawn = (snapshot.losses, curve.size)
            drawn = chart(snapshot.losses, curve.size.width - 1, curve.size.height - 1)
            title = "loss" if drawn else ""
            set_text(curve, Content("\n".join([title, *drawn])), resizes=False)
        told = [
            Content.styled(visible(message), "$error" if message.startswith("✗") else "$warning")
            for message in snapshot.messages[-3:]
        ]
        set_text(self.query_one("#messages", Static), _joined(told))

    def _read_report(self) -> None:
        """A finished run opens as its report, unless a person looks at something else."""
        try:
            text = (self._files.report / "report.md").read_text(encoding="utf-8")
        except OSError:
            return
        self.query_one("#report-text", Markdown).update(text)
        if not self._chose and self.snapshot.verdict == "done":
            self.query_one("#pages", ContentSwitcher).current = "report"
            self.query_one("#report").focus()

    def action_show(self, page: str) -> None:
        """Progress or report."""
        self._chose = True
        if page == "report" and not (self._files.report / "report.md").exists():
            self.notify("There is no report yet.", timeout=3)
            return
        self.query_one("#pages", ContentSwitcher).current = page
        self.query_one("#report" if page == "report" else "#log").focus()

    def action_leave(self) -> None:
        """Stop looking."""
        self.dismiss()


def _joined(lines: list[Content]) -> Content:
    return Content("\n").join(lines)

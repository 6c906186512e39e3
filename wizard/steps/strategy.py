"""How the work is spread over the devices."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.view import layout_cells, modules_view, strategies_view
from fsft.wizard.outlook import Outlook
from fsft.wizard.planning import with_length
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.lines import Lines, Rows
from fsft.wizard.widgets.memory_bar import bar, legend
from fsft.wizard.widgets.text import set_text

SHOWN = 40
"""Layouts to pick from; what is slower than these nobody wants."""


class StrategyStep(StepPane):
    """Three tables, what fills a device, and why the others were not chosen."""

    step: ClassVar[Step] = "strategy"
    intro: ClassVar[str] = "How is the work spread? auto is best; or pick a row."

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Candidate] = []
        self._plan: Plan | None = None
        self._shown: tuple[Plan | None, float | None, int] = (None, None, 0)

    def below(self) -> Iterable[Widget]:
        """The tables, one in sight at a time."""
        with TabbedContent(id="tables"):
            with TabPane("Layouts", id="tab-layouts"):
                yield Static("", id="layout-head")
                yield Rows(id="layouts")
                yield Static("", id="layout-bar")
            with TabPane("Model", id="tab-modules"):
                yield Static("", id="modules")
            with TabPane("ZeRO", id="tab-zero"):
                yield Static("", id="zero")
            with TabPane("Not these", id="tab-rejected"):
                yield Lines(id="rejected")

    def show_more(self, outlook: Outlook) -> None:
        """The table in sight; nothing moves where nothing changed."""
        shown = (outlook.planning.open_plan, outlook.length.tokens, self.size.width)
        if shown != self._shown:
            self._shown = shown
            self._plan = with_length(*shown[:2])
            self._show_table()

    @on(TabbedContent.TabActivated)
    def _show_table(self) -> None:
        plan, shown = self._plan, self.query_one(TabbedContent).active
        if shown == "tab-modules":
            set_text(self.query_one("#modules", Static), modules_view(plan) if plan else "")
        elif shown == "tab-zero":
            set_text(self.query_one("#zero", Static), strategies_view(plan) if plan else "")
        elif shown == "tab-rejected":
            self.query_one("#rejected", Lines).show(_rejected(plan) if plan else [])
        else:
            self._fill()

    def _fill(self) -> None:
        """The layouts that would do."""
        plan = self._plan
        self._rows = list(plan.search.candidates[:SHOWN]) if plan else []
        columns, cells = layout_cells(plan, self._rows) if plan else ([], [])
        notes = ["" if row.fits == "yes" else "may fit" for row in self._rows]
        table = self.query_one("#layouts", Rows)
        head, lines = _aligned(columns, cells, notes, table.size.width)
        set_text(self.query_one("#layout-head", Static), head, resizes=False)
        table.show(lines)
        self._show_bar(table.cursor)

    def _show_bar(self, index: int) -> None:
        view = self.query_one("#layout-bar", Static)
        plan = self._plan
        if plan is None or not 0 <= index < len(self._rows):
            text = Content("" if plan is None else "No layout fits; the plan says what would.")
            set_text(view, text, resizes=False)
            return
        memory = self._rows[index].memory
        room, family = plan.cluster.accelerator.memory, plan.job.style.family
        filled = bar(memory, room, family, max(20, self.size.width - 4))
        set_text(view, Content("\n").join([filled, legend(memory)]), resizes=False)

    @on(Rows.Moved, "#layouts")
    def _moved(self, event: Rows.Moved) -> None:
        event.stop()
        self._show_bar(event.index)

    @on(Rows.Picked, "#layouts")
    def _picked(self, event: Rows.Picked) -> None:
        event.stop()
        self.post_message(self.Picked(_answers(self._rows[event.index])))


def _answers(candidate: Candidate) -> dict[str, str]:
    layout = candidate.layout
    return {
        "parallel.zero": str(layout.zero),
        "parallel.micro_batch": str(layout.micro_batch),
        "parallel.activation_checkpointing": layout.checkpointing,
    }


def _aligned(
    columns: list[str], rows: list[list[str]], notes: list[str], width: int
) -> tuple[Content, list[Content]]:
    """A heading and lines, each column as wide as its widest cell, all within `width` if it can."""
    # Data parallelism is the same in all rows as long as nothing else divides the devices.
    kept = [n for n, name in enumerate(columns) if name != "DP" or len({r[n] for r in rows}) > 1]
    widths = {n: max(len(columns[n]), *(len(row[n]) for row in rows), 1) for n in kept}
    gap = "  " if sum(widths.values()) + 2 * len(kept) + 4 <= width else " "

    def line(cells: list[str]) -> str:
        return gap.join(f"{cells[n]:>{widths[n]}}" for n in kept)

    lines = [
        Content.assemble(line(row), (f" {note}", "$warning"))
        for row, note in zip(rows, notes, strict=True)
    ]
    return Content.styled(f"  {line(columns)}", "dim"), lines


def _rejected(plan: Plan) -> list[Content]:
    """Why each other layout cannot be used."""
    return [
        Content(f"{rejected.layout.name}, {rejected.layout.checkpointing}: {rejected.reason}")
        for rejected in plan.search.rejected
    ] or [Content("Every layout that fsft run can do fits.")]

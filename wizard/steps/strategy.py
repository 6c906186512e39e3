"""How the work is spread over the devices."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.questions import parallel_of
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.view import distinct, layout_cells, modules_view, strategies_view
from fsft.wizard.outlook import Outlook
from fsft.wizard.planning import with_length
from fsft.wizard.questions import APART, BY_KEY, LAYOUT_KEYS, Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.field import Tell
from fsft.wizard.widgets.lines import Lines, Rows
from fsft.wizard.widgets.memory_bar import bar, legend
from fsft.wizard.widgets.text import set_text

SHOWN = 40
"""Layouts to pick from: each way to spread the work, and of those the variants that are best."""
AUTO, ITS_MEANING = "auto", "the best that fits when the run starts"
TAKEN = "●"
DEGREES = {"parallel.tensor", "parallel.pipeline", "parallel.sequence", "parallel.expert"}
DROPPED = ("MFU", "s/step", "cost")
"""Columns that a narrow terminal goes without, the first first; time says the same."""
SHORTER = {"checkpointing": "recompute"}


class StrategyStep(StepPane):
    """The layouts, what fills a device, single keys by hand, and why others were not chosen."""

    step: ClassVar[Step] = "strategy"
    intro: ClassVar[str] = "How is the work spread? auto is best; or pick a row."

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._rows: list[Candidate] = []
        self._plan: Plan | None = None
        self._shown: tuple[object, ...] = ()

    def below(self) -> Iterable[Widget]:
        """The tables, one in sight at a time."""
        with TabbedContent(id="tables"):
            with TabPane("Layouts", id="tab-layouts"):
                yield Static("", id="layout-head")
                yield Rows(id="layouts")
                yield Static("", id="layout-bar")
            with TabPane("By hand", id="tab-by-hand"):
                for key in APART:
                    yield self.field(BY_KEY[key])
            with TabPane("Model", id="tab-modules"):
                yield Static("", id="modules")
            with TabPane("ZeRO", id="tab-zero"):
                yield Static("", id="zero")
            with TabPane("Not these", id="tab-rejected"):
                yield Lines(id="rejected")

    def show_more(self, outlook: Outlook) -> None:
        """The table in sight; nothing moves where nothing changed."""
        plan, tokens = outlook.planning.open_plan, outlook.length.tokens
        answers = [outlook.answers[key].text for key in LAYOUT_KEYS]
        shown = (plan, tokens, self.size.width, answers)
        if shown != self._shown:
            self._shown = shown
            self._plan = with_length(plan, tokens) if plan else None
            self._show_table()

    def asks(self, _key: str, _outlook: Outlook) -> bool:
        """A model is divided among several devices, and experts are there in some models only."""
        plan = _outlook.planning.plan
        if plan is None or _key not in DEGREES or _outlook.answers[_key].value not in {1, AUTO}:
            return True
        has_its_part = _key != "parallel.expert" or plan.job.shape.is_mixture
        return has_its_part and plan.cluster.num_devices > 1

    @on(TabbedContent.TabActivated)
    def _show_table(self) -> None:
        plan, shown = self._plan, self.query_one(TabbedContent).active
        if shown == "tab-modules":
            set_text(self.query_one("#modules", Static), modules_view(plan) if plan else "")
        elif shown == "tab-zero":
            set_text(self.query_one("#zero", Static), strategies_view(plan) if plan else "")
        elif shown == "tab-rejected":
            self.query_one("#rejected", Lines).show(_rejected(plan) if plan else [])
        elif shown != "tab-by-hand":
            self._fill()

    def _fill(self) -> None:
        """The layouts that would do, behind the answer that leaves them to the planner."""
        plan = self._plan
        self._rows = _listed(plan) if plan else []
        columns, cells = layout_cells(plan, self._rows) if plan else ([], [])
        notes = ["" if row.fits == "yes" else "may fit" for row in self._rows]
        table = self.query_one("#layouts", Rows)
        # A table that comes into sight has no width yet.
        width = self.query_one("#tables").size.width
        head, lines = _aligned(columns, cells, notes, width)
        set_text(self.query_one("#layout-head", Static), head, resizes=False)
        taken = self._taken()
        marked = [
            Content.assemble((TAKEN if index == taken else " ", "$success"), line[1:])
            for index, line in enumerate([Content(f"  {AUTO}: {ITS_MEANING}"), *lines])
        ]
        table.show(marked if lines else [])
        self._show_bar(table.cursor)

    def _taken(self) -> int | None:
        """The line that says what will run."""
        outlook = self._outlook
        if outlook is None:
            return None
        if all(outlook.answers[key].text == text for key, text in _auto(outlook).items()):
            return 0
        best = outlook.planning.best
        layouts = [row.layout for row in self._rows]
        return layouts.index(best.layout) + 1 if best and best.layout in layouts else None

    def _show_bar(self, index: int) -> None:
        view = self.query_one("#layout-bar", Static)
        plan = self._plan
        if plan is None or not self._rows:
            text = Content("" if plan is None else "No layout fits; the plan says what would.")
            set_text(view, text, resizes=False)
            return
        memory = self._rows[max(0, index - 1)].memory
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
        if self._outlook and self._rows:
            layout = self._rows[event.index - 1].layout if event.index else None
            self.post_message(self.Picked(_answers(layout, self._outlook)))


def _answers(layout: Layout | None, outlook: Outlook) -> dict[str, str]:
    """What says `layout`, or leaves it to the planner; the rows of a step stay as many."""
    if layout is None:
        # In an opened recipe no answer means what the schema says.
        answers = _auto(outlook) if outlook.draft.opened else dict.fromkeys(LAYOUT_KEYS, "")
    else:
        said = {f"parallel.{key}": str(value) for key, value in parallel_of(layout).items()}
        answers = {key: said[key] for key in LAYOUT_KEYS}
    plan = outlook.planning.plan
    if plan and outlook.answers["parallel.global_batch"].value is None:
        answers["parallel.global_batch"] = str(plan.job.global_batch)
    return answers


def _auto(outlook: Outlook) -> dict[str, str]:
    """As much left to the planner as the recipe may leave to it."""
    needs_rows = outlook.answers["model.attention"].value == "flex_attention"
    return dict.fromkeys(LAYOUT_KEYS, AUTO) | ({"parallel.sequence": "1"} if needs_rows else {})


def _listed(plan: Plan) -> list[Candidate]:
    """The best of each way to spread the work, then as many others as there is room for."""
    candidates = plan.search.candidates
    first = distinct(plan, SHOWN)
    names = {id(candidate) for candidate in first}
    others = [candidate for candidate in candidates if id(candidate) not in names]
    kept = names | {id(candidate) for candidate in others[: SHOWN - len(first)]}
    return [candidate for candidate in candidates if id(candidate) in kept]


def _aligned(
    columns: list[str], rows: list[list[str]], notes: list[str], width: int
) -> tuple[Content, list[Content]]:
    """A heading and lines, each column as wide as its widest cell, all within `width` if it can."""
    # Data parallelism is the same in all rows as long as nothing else divides the devices.
    kept = [n for n, name in enumerate(columns) if name != "DP" or len({r[n] for r in rows}) > 1]
    widths = {n: max(len(columns[n]), *(len(row[n]) for row in rows), 1) for n in kept}
    # Pointer, track, the step's own scroll bar and a note stand beside them.
    room = width - 4 - max(map(len, notes), default=0)
    names = dict(enumerate(columns))
    for name in DROPPED:
        if sum(widths[n] + 1 for n in kept) > room and {"time", name} <= set(columns):
            kept.remove(columns.index(name))
    if sum(widths[n] + 1 for n in kept) > room:
        names = {n: SHORTER.get(name, name) for n, name in names.items()}
        rows = [[cell.replace(", ", " ") for cell in row] for row in rows]
        widths = {n: max(len(names[n]), *(len(row[n]) for row in rows), 1) for n in kept}
    gap = "  " if sum(widths[n] + 2 for n in kept) <= room else " "

    def line(cells: list[str]) -> str:
        return gap.join(f"{cells[n]:>{widths[n]}}" for n in kept)

    lines = [
        Content.assemble(line(row), (f" {note}", "$warning"))
        for row, note in zip(rows, notes, strict=True)
    ]
    return Content.styled(f"  {line(list(names.values()))}", "dim"), lines


def _rejected(plan: Plan) -> list[Content]:
    """Why each other layout cannot be used."""
    return [
        Content(f"{rejected.layout.name}, {rejected.layout.checkpointing}: {rejected.reason}")
        for rejected in plan.search.rejected
    ] or [Content("Every layout that fsft run can do fits.")]

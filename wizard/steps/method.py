"""What is trained, and what each way costs."""

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar, get_args

from rich.table import Table
from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.method import MethodType
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.questions import method_of
from fsft.recipes.planner.search import Candidate, search
from fsft.recipes.planner.view import gib, plan_table, price
from fsft.recipes.units import format_span
from fsft.recipes.wording import field_at
from fsft.wizard.outlook import Outlook
from fsft.wizard.planning import with_length
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.field import Tell
from fsft.wizard.widgets.text import set_text

RANK = 8


class MethodStep(StepPane):
    """The method, its learning rate, and a table of all methods."""

    step: ClassVar[Step] = "method"
    intro: ClassVar[str] = "What is trained, and how fast it learns."

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._shown: tuple[Plan | None, float | None] = (None, None)
        self._searched: Plan | None = None
        self._best: dict[str, Candidate | None] = {}

    def below(self) -> Iterable[Widget]:
        """What each method takes."""
        yield Static("", id="methods")

    def show_more(self, outlook: Outlook) -> None:
        """The methods on the present hardware."""
        shown = (outlook.planning.open_plan, outlook.length.tokens)
        if shown != self._shown:
            self._shown = shown
            plan, tokens = shown
            if plan and plan is not self._searched:
                self._searched, self._best = plan, _best_of_each(plan)
            table = _costs(with_length(plan, tokens), self._best) if plan else ""
            set_text(self.query_one("#methods", Static), table)


def _best_of_each(plan: Plan) -> dict[str, Candidate | None]:
    """The best layout of each method that the planner knows."""
    best: dict[str, Candidate | None] = {plan.job.method.type: plan.best}
    for name in get_args(MethodType):
        if name not in best:
            job = replace(plan.job, method=method_of(name, RANK))
            best[name] = search(job, plan.cluster).best
    return best


def _costs(plan: Plan, best_of_each: dict[str, Candidate | None]) -> Table:
    """A row for each method."""
    field = field_at(["method", "type"])
    runs = get_args(field.annotation) if field else ()
    table = plan_table("What each takes", "method", "layout", "micro", "GiB", "time", "cost")
    table.caption = "* planned, but not run yet"
    table.caption_justify, table.caption_style = "left", "dim"
    for name in get_args(MethodType):
        best = best_of_each[name]
        shown = name if name in runs else f"{name} *"
        if best is None:
            table.add_row(shown, "does not fit", "", "", "", "")
            continue
        cost = plan_cost(plan.job, best.layout, best.time, plan.cluster)
        table.add_row(
            shown,
            best.layout.name,
            str(best.layout.micro_batch),
            gib(best.memory.device_total),
            "" if cost.seconds is None else format_span(cost.seconds),
            price(cost),
        )
    return table

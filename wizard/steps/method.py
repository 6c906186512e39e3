"""What is trained, and what each way costs."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, get_args

from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.planner.layout import ALONE
from fsft.recipes.planner.method import MethodType
from fsft.recipes.planner.plan import Plan, make_plan
from fsft.recipes.planner.questions import method_of
from fsft.recipes.planner.view import gib, plan_table, step_seconds
from fsft.recipes.wording import field_at
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.text import set_text

RANK = 8


class MethodStep(StepPane):
    """The method, its learning rate, and a table of all methods."""

    step: ClassVar[Step] = "method"
    intro: ClassVar[str] = "What is trained, and how fast it learns."

    def __init__(self) -> None:
        super().__init__()
        self._plan: Plan | None = None

    def below(self) -> Iterable[Widget]:
        """What each method takes."""
        yield Static("", id="methods")

    def show_more(self, outlook: Outlook) -> None:
        """The methods on the present hardware."""
        plan = outlook.planning.open_plan
        if plan is self._plan:
            return
        self._plan = plan
        table = plan_table("What each takes", "method", "layout", "GiB", "s/step", "fsft run")
        for row in _costs(plan) if plan else ():
            table.add_row(*row)
        set_text(self.query_one("#methods", Static), table if plan else "")


@lru_cache(maxsize=16)
def _costs(plan: Plan) -> list[tuple[str, ...]]:
    """A row for each method that the planner knows."""
    field = field_at(["method", "type"])
    runs = get_args(field.annotation) if field else ()
    rows: list[tuple[str, ...]] = []
    for name in get_args(MethodType):
        job = replace(plan.job, method=method_of(name, RANK))
        best = make_plan(job, plan.cluster, ALONE).best
        does = "yes" if name in runs else "plans only, so far"
        if best is None:
            rows.append((name, "does not fit", "", "", does))
        else:
            memory = gib(best.memory.device_total)
            rows.append((name, best.layout.name, memory, step_seconds(best), does))
    return rows

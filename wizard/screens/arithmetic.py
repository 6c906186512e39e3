"""How the plan comes about, with its numbers."""

from textual.content import Content

from fsft.recipes.planner.explain import explain_memory, explain_time
from fsft.wizard.outlook import Outlook


def arithmetic(outlook: Outlook) -> Content:
    """The formulas with their numbers, and what was assumed."""
    planning = outlook.planning
    plan, best = planning.plan, planning.best
    if plan is None:
        return Content(f"There is no plan: {planning.trouble}.")
    if best is None:
        lines = [f"{r.layout.name}: {r.reason}" for r in plan.search.rejected]
        return Content("\n".join(["No layout fits.", *lines]))
    lines = [f"{best.layout.name}", "", *explain_memory(plan.job, best.layout, best.memory)]
    if best.time:
        lines += ["", *explain_time(plan.job, best.layout, best.time, plan.cluster)]
    lines += ["", *(f"assumed: {text}" for text in plan.assumptions)]
    return Content("\n".join(lines))

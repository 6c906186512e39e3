"""What comes closest where nothing fits."""

from fsft.recipes.planner.legal import why_illegal
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.search import Rejected


def smallest(plan: Plan) -> Rejected | None:
    """Of the layouts that are legal but too large, the one that takes least of a device.

    None where no layout is legal.
    """
    legal = [
        rejected
        for rejected in plan.search.rejected
        if not why_illegal(plan.job, rejected.layout, plan.cluster)
    ]
    return min(
        legal, key=lambda each: plan_memory(plan.job, each.layout).device_total, default=None
    )

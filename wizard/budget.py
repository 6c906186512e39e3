"""How long to train: epochs, tokens, steps, days and money, each from any of the others."""

from dataclasses import dataclass, replace
from typing import Literal

from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.ranges import time_range
from fsft.recipes.schema import Budget
from fsft.recipes.units import MAX_INTEGER
from fsft.wizard.facts import DataFacts
from fsft.wizard.planning import Planning


@dataclass(frozen=True)
class Length:
    """The length of the run in every measure; None where it is not known."""

    epochs: float | None = None
    tokens: float | None = None
    steps: float | None = None
    days: float | None = None
    money: float | None = None
    device_hours: float | None = None
    kilowatt_hours: float | None = None


def length_of(budget: Budget | None, planning: Planning, data: DataFacts | None) -> Length:
    """The budget in every measure that can be worked out."""
    if budget is None:
        return Length()
    per_epoch = data.num_tokens if data and not data.trouble else None
    per_step = _tokens_per_step(planning)
    tokens: float | None = budget.tokens
    if budget.steps is not None and per_step:
        tokens = float(budget.steps * per_step)
    elif budget.epochs is not None and per_epoch:
        tokens = budget.epochs * per_epoch
    if tokens and tokens > MAX_INTEGER:
        # Nothing lasts as long, and no number can say it.
        tokens = None
    steps: float | None = budget.steps
    if steps is None and tokens and per_step:
        steps = max(1.0, tokens / per_step)
    epochs = budget.epochs
    if epochs is None and tokens and per_epoch:
        epochs = tokens / per_epoch
    plan, best = planning.plan, planning.best
    if not (tokens and plan and best):
        return Length(epochs, tokens, steps)
    job = replace(plan.job, num_tokens=max(1, round(tokens)), num_steps=None)
    cost = plan_cost(job, best.layout, best.time, plan.cluster)
    days = None if cost.seconds is None else cost.days
    return Length(epochs, tokens, steps, days, cost.price, cost.device_hours, cost.kilowatt_hours)


def tokens_for(unit: Literal["days", "money"], amount: float, planning: Planning) -> int:
    """The tokens that can be trained on within so many days, or for so much money.

    Raises ValueError with what is not known.
    """
    plan, best = planning.plan, planning.best
    if plan is None or best is None:
        raise ValueError(planning.trouble or "nothing fits, so there is no speed to go by")
    if best.time is None:
        raise ValueError(
            f"the speed of {plan.cluster.accelerator.name} is not known; fsft calibrate measures it"
        )
    devices = plan.cluster.num_devices
    hours = amount * 24
    if unit == "money":
        price = plan.cluster.price_per_device_hour
        if price is None:
            raise ValueError("the price of a device for an hour is not given, in Hardware")
        hours = amount / (price * devices)
    # What is a limit should hold for all but the slowest runs.
    hours /= time_range(1.0, plan.job.style.family).high
    speed = best.time.tokens_per_second_per_device * devices
    tokens = hours * 3600 * speed
    if tokens > MAX_INTEGER:
        raise ValueError("that is more than any run could use")
    # Saving checkpoints takes its part.
    job = replace(plan.job, num_tokens=max(1, round(tokens)), num_steps=None)
    seconds = plan_cost(job, best.layout, best.time, plan.cluster).seconds or 0.0
    tokens -= max(0.0, seconds - hours * 3600) * speed
    if tokens < 1:
        raise ValueError("that is too little to train and save anything")
    return _rounded_down(tokens)


def _tokens_per_step(planning: Planning) -> int | None:
    plan = planning.plan
    if plan is None:
        return None
    if planning.best:
        return planning.best.layout.global_batch * plan.job.sequence_length
    return (plan.job.global_batch or 1) * plan.job.sequence_length


def _rounded_down(tokens: float) -> int:
    """Three digits are more than the prediction is worth."""
    number = int(tokens)
    digits = len(str(number))
    return int(f"{number:d}"[:3].ljust(digits, "0"))

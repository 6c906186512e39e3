"""How long to train."""

from collections.abc import Iterable
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.units import format_count, format_span
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.text import set_text


class BudgetStep(StepPane):
    """Give one of five, and the others follow."""

    step: ClassVar[Step] = "budget"
    intro: ClassVar[str] = "How long? Give any one, and the others follow."

    def below(self) -> Iterable[Widget]:
        """What is missing for the figures that are not there."""
        yield Static("", id="budget-note")

    def instead(self, _key: str, _outlook: Outlook) -> str:
        """What follows from the one that was given."""
        length = _outlook.length
        if _key == "days" and length.days is not None:
            span = format_span(length.days * 86400)
            return f"≈ {length.days:,.2f} ({span})" if length.days > 0.01 else f"≈ {span}"
        if _key == "money" and length.money is not None:
            return f"≈ {length.money:,.2f}"
        count = {
            "budget.epochs": length.epochs,
            "budget.tokens": length.tokens,
            "budget.steps": length.steps,
        }.get(_key)
        return "unknown" if count is None else f"≈ {format_count(float(count))}"

    def show_more(self, outlook: Outlook) -> None:
        """Why a figure is not known, and how it would be."""
        length, plan = outlook.length, outlook.planning.plan
        notes = []
        if length.tokens is None:
            wait = "being counted" if outlook.facts.measuring else "not counted yet (see Data)"
            notes.append(f"tokens of an epoch: {wait}")
        if plan and not plan.cluster.has_known_speed:
            notes.append(
                f"the speed of {plan.cluster.accelerator.name}: fsft calibrate measures it"
            )
        if plan and plan.cluster.price_per_device_hour is None:
            notes.append("the price of a device for an hour: give it in Hardware")
        text = "\n".join(f"not known: {note}" for note in notes)
        if length.kilowatt_hours is not None:
            text += f"\nat most {length.kilowatt_hours:,.1f} kWh, by the devices' board power"
        set_text(
            self.query_one("#budget-note", Static),
            Content.styled(text.strip(), "dim"),
            resizes=False,
        )

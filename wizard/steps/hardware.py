"""Where it will run."""

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from fsft.recipes.hardware.accelerators import (
    Accelerator,
    accelerator_names,
    find_accelerator,
)
from fsft.recipes.units import format_gib
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import Step
from fsft.wizard.steps.step import StepPane
from fsft.wizard.widgets.lookup import Lookup, Names
from fsft.wizard.widgets.text import set_text

ACCELERATOR = "hardware.accelerator"


class HardwareStep(StepPane):
    """What is here, or any device of the table."""

    step: ClassVar[Step] = "hardware"
    intro: ClassVar[str] = "Where will it run? auto is here; type to search others."

    def under(self, _key: str) -> Iterable[Widget]:
        """The table of devices."""
        if _key == ACCELERATOR:
            yield Static("", id="device")
            yield Lookup(ACCELERATOR, _names)

    def show_more(self, outlook: Outlook) -> None:
        """The devices that match, and what is known of the one that is answered."""
        plan = outlook.planning.plan
        meant = plan.cluster.accelerator.name if plan else ""
        self.query_one(Lookup).narrow(outlook.draft.answers.get(ACCELERATOR, ""), meant)
        text = Content("")
        if plan:
            cluster = plan.cluster
            text = Content.from_markup(
                "[b]$n × $m × $name[/b] · $facts",
                n=str(cluster.num_nodes),
                m=str(cluster.devices_per_node),
                name=cluster.accelerator.name,
                facts=_facts(cluster.accelerator),
            )
        set_text(self.query_one("#device", Static), text, resizes=False)


def _facts(device: Accelerator) -> str:
    facts = [format_gib(device.memory)]
    reached = device.matmul_tflops("bfloat16")
    if reached:
        facts.append(f"{reached:,.0f} TFLOPS in large products")
    else:
        facts.append("speed not known: fsft calibrate measures it")
    if device.memory_bandwidth:
        facts.append(f"{device.memory_bandwidth / 1e9:,.0f} GB/s")
    return " · ".join(facts)


@lru_cache(maxsize=1)
def _names() -> Names:
    rows = [("auto", "here"), ("cpu", "here")]
    devices = map(find_accelerator, accelerator_names())
    return rows + [(device.name, f"{device.sold_gigabytes:g} GB") for device in devices]

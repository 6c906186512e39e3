"""What a scheduler asks of a job, taken from a recipe and its plan."""

from dataclasses import dataclass

from fsft.recipes.problems import Problem, RecipeError
from fsft.recipes.schema import Hardware


@dataclass(frozen=True)
class Job:
    """Machines, devices, and how long."""

    name: str
    arguments: tuple[str, ...]
    """Of `fsft run`: the recipe, and what is changed in it."""
    nodes: int
    devices_per_node: int
    has_gpus: bool
    seconds: float | None
    """What training takes by the plan, at the upper end of its range; None where unknown."""


def job_devices(hardware: Hardware) -> int:
    """Devices of a machine; raises RecipeError where only that machine could say."""
    if hardware.devices_per_node == "auto":
        raise RecipeError(
            Problem(
                key="hardware.devices_per_node",
                reason="a scheduler has to be told a number, not auto.",
                example="--set hardware.devices_per_node=8",
            )
        )
    return hardware.devices_per_node

"""What a whole run takes: days, device hours, price, energy."""

from dataclasses import dataclass

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.time import StepTime


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the whole budget; None where budget, speed, price or power is not known."""

    steps: int | None
    seconds: float | None
    device_hours: float | None
    price: float | None
    kilowatt_hours: float | None

    @property
    def days(self) -> float:
        """The duration in days."""
        return (self.seconds or 0.0) / 86400


def plan_cost(job: Job, layout: Layout, time: StepTime | None, cluster: Cluster) -> Cost:
    """What the job's budget takes with `layout`."""
    steps = job.num_steps
    if job.num_tokens is not None:
        steps = -(-job.num_tokens // (layout.global_batch * job.sequence_length))
    if steps is None or time is None:
        return Cost(steps, None, None, None, None)
    seconds = steps * time.seconds
    hours = seconds / 3600 * cluster.num_devices
    price, power = cluster.price_per_device_hour, cluster.power
    return Cost(
        steps,
        seconds,
        hours,
        None if price is None else hours * price,
        None if power is None else hours * power / 1000,
    )

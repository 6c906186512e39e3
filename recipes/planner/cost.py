"""What a whole run takes: days, device hours, price, energy."""

from dataclasses import dataclass

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.time import StepTime

DISK_BYTES_PER_SECOND = 1e9
"""What a node writes where the disk's speed is not known."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the whole budget; None where budget, speed, price or power is not known."""

    steps: int | None
    seconds: float | None
    saving_seconds: float | None
    """Of those, the seconds in which checkpoints are written and nothing is trained."""
    device_hours: float | None
    price: float | None
    kilowatt_hours: float | None
    """Of the devices at their full board power, the machines around them not counted."""

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
        return Cost(steps, None, None, None, None, None)
    saves = 1 + (steps - 1) // job.checkpoint_every if job.checkpoint_every else 0
    saving = saves * checkpoint_seconds(job, cluster)
    seconds = steps * time.seconds + saving
    hours = seconds / 3600 * cluster.num_devices
    price, watts = cluster.price_per_device_hour, cluster.accelerator.watts
    return Cost(
        steps,
        seconds,
        saving,
        hours,
        None if price is None else hours * price,
        None if watts is None else hours * watts / 1000,
    )


def checkpoint_seconds(job: Job, cluster: Cluster) -> float:
    """Seconds to write weights and optimizer states, each node its part."""
    style = job.style
    num_bytes = job.shape.num_parameters * (style.weight_bytes + style.optimizer_bytes)
    return num_bytes / cluster.num_nodes / (cluster.disk_write or DISK_BYTES_PER_SECOND)

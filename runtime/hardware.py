"""Which devices a run gets."""

import os
from dataclasses import dataclass

from fsft.recipes.hardware.detect import CPU_PROCESSES
from fsft.recipes.problems import Problem, Refused
from fsft.recipes.schema import Hardware


@dataclass(frozen=True)
class Devices:
    """The kind of device, and how many processes train, one a device."""

    accelerator: str
    per_node: int
    nodes: int = 1

    @property
    def num_processes(self) -> int:
        """On all machines together."""
        return self.per_node * self.nodes


def find_devices(hardware: Hardware) -> Devices:
    """The devices that the recipe asks for, this machine standing for all of them.

    Raises Refused when they are not there.
    """
    num_gpus = 0 if hardware.accelerator == "cpu" else _num_gpus()
    accelerator = hardware.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if num_gpus else "cpu"
    elif accelerator != "cpu":
        # The name of a device, as the planner knows it.
        accelerator = "cuda"
    if hardware.devices_per_node == "auto":
        per_node = num_gpus if accelerator == "cuda" else CPU_PROCESSES
    else:
        per_node = hardware.devices_per_node
    if accelerator == "cuda" and not 0 < per_node <= num_gpus:
        raise Refused(
            Problem(
                key="hardware",
                reason=f"{max(1, per_node)} GPUs are asked for, {num_gpus} are visible.",
                example='accelerator = "cpu", or devices_per_node = "auto"',
            )
        )
    return Devices(accelerator, per_node, hardware.nodes)


def process_environment(devices: Devices) -> dict[str, str]:
    """The environment of the training processes."""
    settings = {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if devices.accelerator == "cpu":
        cores = len(os.sched_getaffinity(0))
        settings["DS_ACCELERATOR"] = "cpu"
        settings["OMP_NUM_THREADS"] = str(max(1, cores // devices.per_node))
    return {**os.environ, **settings}


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()

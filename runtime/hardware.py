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
    kind, number = ("cpu", 0) if hardware.accelerator == "cpu" else _found()
    accelerator = hardware.accelerator
    if accelerator not in {"cpu", "cuda"}:
        # The name of a device, as the planner knows it, or auto.
        accelerator = kind if number or accelerator == "auto" else "cuda"
    here = number if accelerator == kind else 0
    if hardware.devices_per_node == "auto":
        per_node = CPU_PROCESSES if accelerator == "cpu" else here
    else:
        per_node = hardware.devices_per_node
    if accelerator != "cpu" and not 0 < per_node <= here:
        what = "GPUs" if accelerator == "cuda" else f"{accelerator} devices"
        raise Refused(
            Problem(
                key="hardware",
                reason=f"{max(1, per_node)} {what} are asked for, {here} are visible.",
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


def _found() -> tuple[str, int]:
    """What PyTorch calls the accelerator of this machine, as cuda or npu, and how many there are.

    Apple's is left alone: it trains with neither bfloat16 nor several processes.
    """
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None or device.type == "mps":
        return "cpu", 0
    return device.type, torch.accelerator.device_count()

"""The device that is measured: torch's accelerator, or the processor."""

import torch

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.detect import CPU_PROCESSES
from fsft.recipes.problems import RecipeError


def find_device() -> torch.device:
    """What torch would compute on here."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The name that the planner asks by: the table's, or the driver's where the table has none."""
    if device.type == "cpu":
        return "cpu"
    name: str = torch.get_device_module(device).get_device_name(0)
    try:
        return find_accelerator(name).name
    except RecipeError:
        return name


def num_devices(device: torch.device) -> int:
    """How many take part in training on this machine; processes, on the processor."""
    return CPU_PROCESSES if device.type == "cpu" else torch.accelerator.device_count()


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated now."""
    if device.type == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    return int(torch.accelerator.get_memory_info(device)[0])


def wait(device: torch.device) -> None:
    """Until everything that was begun on the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

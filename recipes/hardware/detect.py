"""What this machine has, found without torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsft.recipes.hardware.accelerators import Accelerator, find_accelerator
from fsft.recipes.hardware.calibration import read_calibration, with_calibration
from fsft.recipes.hardware.cluster import Cluster, make_cluster
from fsft.recipes.problems import RecipeError

CPU_PROCESSES = 2
"""Processes on cpu where the recipe does not say: enough to be parallel, fit for any machine."""
CONTROL_GROUP = Path("/sys/fs/cgroup")
_NPU_SECONDS = 10


@dataclass(frozen=True)
class Device:
    """One device, as its driver names it; memory in bytes."""

    name: str
    memory: float


@dataclass(frozen=True)
class Machine:
    """The machine that fsft runs on. Memory and disk in bytes; `notes` say what is not known."""

    devices: tuple[Device, ...]
    num_cores: int
    host_memory: float
    free_disk: float
    notes: tuple[str, ...] = ()


def detect_machine(folder: Path = Path()) -> Machine:
    """Devices, cores, memory, and the free space of the disk that holds `folder`."""
    devices: tuple[Device, ...] = ()
    notes = []
    for find in (_nvidia_devices, _ascend_devices):
        found, note = find()
        devices += found
        if note:
            notes.append(note)
    return Machine(
        devices=devices,
        num_cores=len(os.sched_getaffinity(0)),
        host_memory=_host_memory(),
        free_disk=float(shutil.disk_usage(folder).free),
        notes=tuple(notes),
    )


def detected_cluster(kind: str, machine: Machine | None = None) -> Cluster | None:
    """The machine as a cluster of `kind`: "cpu", "cuda", or "auto".

    Speeds are those that were measured here, where they were; a device that is neither measured nor
    in fsft's table has none. None where there is no such device.
    """
    machine = machine or detect_machine()
    measured = read_calibration()
    if kind != "cpu" and machine.devices:
        cluster = make_cluster(
            _accelerator(machine.devices[0]),
            devices_per_node=len(machine.devices),
            host_memory=machine.host_memory,
        )
        return with_calibration(cluster, measured)
    if kind not in {"cpu", "auto"}:
        return None
    accelerator = Accelerator(name="cpu", memory=machine.host_memory)
    return with_calibration(make_cluster(accelerator, devices_per_node=CPU_PROCESSES), measured)


def _accelerator(device: Device) -> Accelerator:
    """What the table says of the device, or its memory alone."""
    try:
        return find_accelerator(device.name).with_memory(device.memory)
    except RecipeError:
        return Accelerator(
            name=device.name,
            memory=device.memory,
            sold_gigabytes=device.memory / 1e9,
            note="not in fsft's table, so its speed is not known; fsft calibrate measures it",
        )


def _nvidia_devices() -> tuple[tuple[Device, ...], str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), f"no NVIDIA devices: {error}"
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return tuple(
            Device(
                _text(pynvml.nvmlDeviceGetName(handle)),
                float(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            )
            for handle in handles
        ), ""
    except pynvml.NVMLError as error:
        return (), f"NVIDIA devices could not be read: {error}"
    finally:
        pynvml.nvmlShutdown()


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _ascend_devices(
    run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run,
) -> tuple[tuple[Device, ...], str]:
    """Ascend NPUs as `npu-smi info` prints them: name, and used / total memory in MB."""
    if shutil.which("npu-smi") is None:
        return (), ""
    try:
        told = run(
            ["npu-smi", "info"], capture_output=True, text=True, timeout=_NPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return (), f"npu-smi failed: {error}"
    return parse_npu_smi(told.stdout), ""


def parse_npu_smi(text: str) -> tuple[Device, ...]:
    """The devices in the table that `npu-smi info` prints: two lines each."""
    names = re.findall(r"^\|\s*\d+\s+(910\S*|310\S*)\s*\|", text, re.MULTILINE)
    memories = re.findall(r"(\d+)\s*/\s*(\d+)\s*\|\s*$", text, re.MULTILINE)
    totals = [float(total) * 2**20 for _, total in memories if int(total)]
    return tuple(
        Device(f"Ascend {name}", memory) for name, memory in zip(names, totals, strict=False)
    )


def _host_memory() -> float:
    """Main memory, or less where a control group allows less."""
    import psutil

    total = float(psutil.virtual_memory().total)
    return min([total, *_limits()])


def _limits() -> Iterator[float]:
    """What control groups of version 2 and 1 allow; "max" is no limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (CONTROL_GROUP / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdecimal() and int(text):
            yield float(text)

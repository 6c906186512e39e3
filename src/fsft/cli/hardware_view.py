"""Devices on the screen, and as plain values."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.recipes.hardware.accelerators import Accelerator, find_accelerator
from fsft.recipes.hardware.calibration import Calibration, calibration_file
from fsft.recipes.hardware.detect import Device, Machine
from fsft.recipes.problems import RecipeError

GIB = 2**30


def show_machine(machine: Machine, measured: Mapping[str, Calibration], console: Console) -> None:
    """What this machine has, and what was measured on it."""
    console.print(Text("This machine", style="bold"))
    for device, number in Counter(machine.devices).items():
        each = " each" if number > 1 else ""
        console.print(
            Text(f"  {number} × {device.name}, {device.memory / GIB:.1f} GiB{each}"), soft_wrap=True
        )
        console.print(Text(f"    {_known_as(device, number)}", style="dim"))
    if not machine.devices:
        console.print("  no accelerator")
    console.print(
        f"  {machine.num_cores} cores, {machine.host_memory / GIB:.1f} GiB of memory, "
        f"{machine.free_disk / GIB:.0f} GiB of disk free"
    )
    for note in machine.notes:
        console.print(Text(f"  {note}", style="dim"))
    if not measured:
        console.print("  nothing measured yet: fsft calibrate", style="dim")
        return
    console.print(f"\n[bold]Measured[/bold], kept in {calibration_file()}", soft_wrap=True)
    for calibration in measured.values():
        show_calibration(calibration, console)


def show_table(known: Iterable[Accelerator], console: Console) -> None:
    """The accelerators that the planner knows."""
    console.print(Text("\nAccelerators", style="bold"))
    table = Table(box=None, pad_edge=False)
    table.add_column("name", header_style="dim")
    for column in ("memory GB", "TFLOPS", "measured", "memory GB/s", "link GB/s"):
        table.add_column(column, justify="right", header_style="dim")
    for each in known:
        table.add_row(
            each.name,
            f"{each.sold_gigabytes:g}",
            _peak(each),
            "" if each.measured_matmul is None else f"{each.measured_matmul:,.0f} ",
            _gigabytes(each.memory_bandwidth),
            _gigabytes(each.link_bandwidth),
        )
    console.print(table)
    for line in (
        "TFLOPS: dense bfloat16 by the data sheet, * float16 where there is none;",
        "measured: what large products reach. Links: one direction, PCIe where",
        "there is no other. All of a device: fsft hardware NAME",
    ):
        console.print(line, style="dim")


def show_accelerator(accelerator: Accelerator, console: Console) -> None:
    """All that is known of one device."""
    console.print(Text(accelerator.name, style="bold"))
    table = _facts()
    peaks = ", ".join(f"{dtype} {peak:g}" for dtype, peak in accelerator.peaks.items())
    rows = {
        "memory": f"{accelerator.sold_gigabytes:g} GB, {accelerator.memory / GIB:.2f} GiB usable",
        "peak TFLOPS": peaks or "unknown",
        "products reach": _reached(accelerator),
        "memory bandwidth": f"{_gigabytes(accelerator.memory_bandwidth)} GB/s",
        "link in a node": f"{_gigabytes(accelerator.link_bandwidth)} GB/s",
        "PCIe": f"{_gigabytes(accelerator.pcie_bandwidth)} GB/s",
        "board power": "unknown" if accelerator.watts is None else f"{accelerator.watts:g} W",
        "bfloat16": "native" if accelerator.native_bfloat16 else "emulated",
        "note": accelerator.note,
        "source": accelerator.source,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    console.print(table)


def show_calibration(calibration: Calibration, console: Console) -> None:
    """What was measured, beside the data sheet where there is one."""
    heading = f"{calibration.device} on {calibration.host}"
    console.print(
        Text.assemble((heading, "bold"), f", {calibration.date}, torch {calibration.torch}")
    )
    table = _facts()
    try:
        sheet = find_accelerator(calibration.device)
    except RecipeError:
        sheet = Accelerator(name=calibration.device, memory=0)
    for dtype, reached in calibration.matmul_tflops.items():
        table.add_row(f"{dtype} products", _beside(reached, sheet.peaks.get(dtype), "TFLOPS"))
    for name, speed, promised in (
        ("memory", calibration.memory_bandwidth, sheet.memory_bandwidth),
        ("all-reduce", calibration.all_reduce_bandwidth, sheet.link_bandwidth),
        ("disk, write", calibration.disk_write, None),
        ("disk, read", calibration.disk_read, None),
    ):
        if speed:
            table.add_row(name, _beside(speed / 1e9, promised and promised / 1e9, "GB/s"))
    console.print(table)


def machine_document(machine: Machine, measured: Mapping[str, Calibration]) -> dict[str, Any]:
    """The machine and its measurements as plain values: bytes, TFLOPS, bytes per second."""
    return {
        **asdict(machine),
        "calibration_file": str(calibration_file()),
        "measured": {name: vars(calibration) for name, calibration in measured.items()},
    }


def accelerator_document(accelerator: Accelerator) -> dict[str, Any]:
    """One device as plain values: bytes, TFLOPS, bytes per second."""
    document = asdict(accelerator)
    document["reached_tflops"] = accelerator.matmul_tflops("bfloat16")
    return document


def _known_as(device: Device, number: int) -> str:
    try:
        known = find_accelerator(device.name)
    except RecipeError:
        return "not in the table: its speed is known once fsft calibrate has measured it"
    between = f", {_gigabytes(known.link_bandwidth)} GB/s between them" if number > 1 else ""
    return f"{known.name} in the table{between}"


def _peak(accelerator: Accelerator) -> str:
    """Aligned, with a star or a blank at the end."""
    peaks = accelerator.peaks
    if "bfloat16" in peaks:
        return f"{peaks['bfloat16']:,.0f} "
    return f"{peaks['float16']:,.0f}*" if "float16" in peaks else "unknown"


def _reached(accelerator: Accelerator) -> str:
    ceiling = accelerator.matmul_tflops("bfloat16")
    if ceiling is None:
        return "unknown"
    how = "measured" if accelerator.is_measured else "estimated from measured devices"
    return f"{ceiling:.0f} TFLOPS in bfloat16, {how}"


def _beside(measured: float, promised: float | None, unit: str) -> str:
    if not promised:
        return f"{_figure(measured)} {unit}"
    return f"{_figure(measured)} of {_figure(promised)} {unit}, {measured / promised:.0%}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _gigabytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value / 1e9:,.4g}"


def _facts() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table

"""Devices on the screen, and as plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.recipes.hardware.accelerators import Accelerator, find_accelerator
from fsft.recipes.hardware.calibration import Calibration
from fsft.recipes.hardware.detect import Machine
from fsft.recipes.problems import RecipeError

GIB = 2**30


def show_machine(machine: Machine, measured: Mapping[str, Calibration], console: Console) -> None:
    """What this machine has, and what was measured on it."""
    console.print(Text("This machine", style="bold"))
    for device in machine.devices:
        console.print(f"  {device.name}, {device.memory / GIB:.1f} GiB")
    if not machine.devices:
        console.print("  no accelerator")
    console.print(
        f"  {machine.num_cores} cores, {machine.host_memory / GIB:.1f} GiB of memory, "
        f"{machine.free_disk / GIB:.0f} GiB of disk free"
    )
    for note in machine.notes:
        console.print(f"  {note}", style="dim")
    for calibration in measured.values():
        console.print(f"  {calibration.device}: {_figures(calibration)}, {calibration.date}")
    if not measured:
        console.print("  nothing measured yet: fsft calibrate", style="dim")


def show_table(known: Iterable[Accelerator], console: Console) -> None:
    """The accelerators that the planner knows."""
    table = Table(
        title="\nAccelerators", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("name", header_style="dim")
    for column in ("memory GB", "TFLOPS", "measured", "memory GB/s", "link GB/s"):
        table.add_column(column, justify="right", header_style="dim")
    for each in known:
        peak = each.peaks.get("bfloat16") or each.peaks.get("float16")
        table.add_row(
            each.name,
            f"{each.sold_gigabytes:g}",
            _number(peak),
            _number(each.measured_matmul),
            _gigabytes(each.memory_bandwidth),
            _gigabytes(each.link_bandwidth),
        )
    console.print(table)
    console.print(
        "  TFLOPS: dense, 16 bit, data sheet, and measured in large products. "
        "Links: one direction.",
        style="dim",
    )


def show_accelerator(accelerator: Accelerator, console: Console) -> None:
    """All that is known of one device."""
    console.print(Text(accelerator.name, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    peaks = ", ".join(f"{dtype} {peak:g}" for dtype, peak in accelerator.peaks.items())
    ceiling = accelerator.matmul_tflops("bfloat16")
    how = "measured" if accelerator.is_measured else "as measured devices reach"
    rows = {
        "memory": f"{accelerator.sold_gigabytes:g} GB, {accelerator.memory / GIB:.2f} GiB usable",
        "peak TFLOPS": peaks or "unknown",
        "products reach": "unknown" if ceiling is None else f"{ceiling:.0f} TFLOPS, {how}",
        "memory bandwidth": f"{_gigabytes(accelerator.memory_bandwidth) or 'unknown'} GB/s",
        "link in a node": f"{_gigabytes(accelerator.link_bandwidth) or 'unknown'} GB/s",
        "PCIe": f"{_gigabytes(accelerator.pcie_bandwidth) or 'unknown'} GB/s",
        "board power": "" if accelerator.watts is None else f"{accelerator.watts:g} W",
        "bfloat16": "native" if accelerator.native_bfloat16 else "emulated",
        "note": accelerator.note,
        "source": accelerator.source,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    console.print(table)


def show_calibration(calibration: Calibration, file: Path, console: Console) -> None:
    """What was measured, beside the data sheet where there is one."""
    console.print(Text(f"{calibration.device} on {calibration.host}", style="bold"))
    try:
        peaks = find_accelerator(calibration.device).peaks
    except RecipeError:
        peaks = {}
    for dtype, reached in calibration.matmul_tflops.items():
        peak = peaks.get(dtype)
        beside = f" of {peak:g}, {reached / peak:.0%}" if peak else ""
        console.print(f"  {dtype} products: {reached:.3g}{beside} TFLOPS")
    for name, speed in (
        ("memory", calibration.memory_bandwidth),
        ("all-reduce", calibration.all_reduce_bandwidth),
        ("disk, write", calibration.disk_write),
        ("disk, read", calibration.disk_read),
    ):
        if speed:
            console.print(f"  {name}: {speed / 1e9:.3g} GB/s")
    console.print(f"kept in {file}", soft_wrap=True)


def machine_document(machine: Machine, measured: Mapping[str, Calibration]) -> dict[str, Any]:
    """The machine and its measurements as plain values: bytes, TFLOPS, bytes per second."""
    calibrations = {name: vars(calibration) for name, calibration in measured.items()}
    return {**asdict(machine), "measured": calibrations}


def accelerator_document(accelerator: Accelerator) -> dict[str, Any]:
    """One device as plain values: bytes, TFLOPS, bytes per second."""
    document = asdict(accelerator)
    document["reached_tflops"] = accelerator.matmul_tflops("bfloat16")
    return document


def _figures(calibration: Calibration) -> str:
    dtype, reached = next(iter(calibration.matmul_tflops.items()), ("products", 0.0))
    return f"{reached:.3g} TFLOPS in {dtype}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _gigabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1e9:,.4g}"

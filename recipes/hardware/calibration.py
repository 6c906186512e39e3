"""What `fsft calibrate` measured on a machine, in place of data sheets."""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fsft.recipes.hardware.accelerators import Accelerator
from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.problems import Problem, RecipeError

COPY_SHARE = 0.86
"""A large copy's share of the data sheet's memory bandwidth: 1.75 of 2.04 TB/s on an A100."""
ALL_REDUCE_SHARE = 0.78
"""An all-reduce's share of the link's: 235 of 300 GB/s on A100 (stas00/ml-engineering)."""


@dataclass(frozen=True)
class Calibration:
    """Measurements of one kind of device on one host; TFLOPS, and bytes per second.

    None where there was nothing to measure: one device has no link.
    """

    host: str
    device: str
    date: str
    torch: str
    matmul_tflops: dict[str, float]
    memory_bandwidth: float | None = None
    all_reduce_bandwidth: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None


_SPEEDS = {field.name for field in fields(Calibration) if field.default is None}


def calibration_file() -> Path:
    """Where measurements of this user's machines are kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "fsft" / "calibration.toml"


def read_calibration(file: Path | None = None) -> dict[str, Calibration]:
    """Measurements by device name; none where nothing was measured. Raises RecipeError."""
    path = file or calibration_file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if not isinstance(devices := document.get("devices"), dict):
            raise ValueError("there is no table [devices]")
        return {name: _calibration(name, row) for name, row in devices.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(
            Problem(
                file=str(path),
                reason=f"is not a calibration: {reason}.",
                example="fsft calibrate writes it anew",
            )
        ) from None


def _calibration(name: str, row: Any) -> Calibration:
    """Raises ValueError where the row is none."""
    if not isinstance(row, dict):
        raise ValueError(f"{name} is not a table")
    keys = {field.name for field in fields(Calibration)}
    if unknown := sorted(row.keys() - keys):
        raise ValueError(f"{name} has an unknown key, {unknown[0]}")
    if missing := sorted(keys - _SPEEDS - row.keys()):
        raise ValueError(f"{name} has no {missing[0]}")
    products = row["matmul_tflops"]
    if not isinstance(products, dict):
        raise ValueError(f"matmul_tflops of {name} is not a table")
    for key in keys - _SPEEDS - {"matmul_tflops"}:
        if not isinstance(row[key], str):
            raise ValueError(f"{key} of {name} is not a text")
    for key, speed in (*products.items(), *((key, row[key]) for key in _SPEEDS & row.keys())):
        if not isinstance(speed, int | float) or not 0 < speed < math.inf:
            raise ValueError(f"{key} of {name} is not a speed")
    return Calibration(**row)


def to_document(measured: Mapping[str, Calibration]) -> dict[str, Any]:
    """What is written to the file."""
    return {
        "devices": {
            name: {key: value for key, value in vars(row).items() if value is not None}
            for name, row in measured.items()
        }
    }


def calibrated(accelerator: Accelerator, measured: Mapping[str, Calibration]) -> Accelerator:
    """The accelerator with what was measured on this machine in place of the data sheet."""
    row = measured.get(accelerator.name)
    if row is None:
        return accelerator
    return replace(
        accelerator,
        peaks=accelerator.peaks or row.matmul_tflops,
        measured_ceilings=row.matmul_tflops,
        memory_bandwidth=_as_on_paper(row.memory_bandwidth, COPY_SHARE)
        or accelerator.memory_bandwidth,
        link_bandwidth=_as_on_paper(row.all_reduce_bandwidth, ALL_REDUCE_SHARE)
        or accelerator.link_bandwidth,
        note=f"measured on {row.host}, {row.date}",
    )


def _as_on_paper(measured: float | None, share: float) -> float | None:
    """The data sheet's figure that goes with a measurement, which the time model starts from."""
    return measured and measured / share


def with_calibration(cluster: Cluster, measured: Mapping[str, Calibration]) -> Cluster:
    """The cluster with measured device and disk figures."""
    row = measured.get(cluster.accelerator.name)
    if row is None:
        return cluster
    return replace(
        cluster,
        accelerator=calibrated(cluster.accelerator, measured),
        disk_read=row.disk_read or cluster.disk_read,
        disk_write=row.disk_write or cluster.disk_write,
    )

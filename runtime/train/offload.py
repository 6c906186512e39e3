"""Optimizer states and weights kept off the device: in host memory, or in files on NVMe disks."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fsft.recipes.schema import Parallel

SWAPPED_AT_ONCE = 50_000_000
"""Weights that one process updates at a time from NVMe. Four buffers of so many float32 values stay
in host memory for them, so that DeepSpeed's default of 1e9 would take 16 GB."""


def nvme_folder(parallel: Parallel, run: str) -> Path | None:
    """Where the files of the run called `run` go; None where nothing goes to NVMe."""
    settled = parallel.settled
    if "nvme" not in (settled.offload_optimizer, settled.offload_weights):
        return None
    return Path(str(parallel.offload_path)) / f"fsft-{run}"


def offload_settings(parallel: Parallel, folder: Path | None, largest: int) -> dict[str, Any]:
    """Keys of DeepSpeed's zero_optimization.

    `folder`: where files on NVMe go, None where there are none; `largest`: elements of the largest
    part of a weight that a process keeps.
    """
    optimizer, weights = parallel.settled.offload_optimizer, parallel.settled.offload_weights
    settings: dict[str, Any] = {}
    if optimizer != "none":
        settings["offload_optimizer"] = {"device": optimizer}
    if weights != "none":
        settings["offload_param"] = {"device": weights}
    if optimizer == "nvme":
        settings["offload_optimizer"]["nvme_path"] = str(folder)
        settings["sub_group_size"] = SWAPPED_AT_ONCE
    if weights == "nvme":
        settings["offload_param"] |= {
            "nvme_path": str(folder),
            "buffer_size": largest,
            # None stay in host memory because there would be room.
            "max_in_cpu": 0,
        }
    return settings


def clear(folder: Path | None) -> None:
    """Delete what a run put on this machine's NVMe disk; all processes call it at the same time."""
    if folder is None:
        return
    dist.barrier()
    if os.environ["LOCAL_RANK"] == "0":
        shutil.rmtree(folder, ignore_errors=True)
    dist.barrier()

"""Which ranks work together, and on what.

Ranks are numbered by pipeline stage, then replica, then share of a row, then tensor share, the last
the fastest: those that exchange the most are neighbours.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch.distributed as dist

from fsft.recipes.schema import Settled

AXES = ("pipeline", "replica", "sequence", "tensor")
"""From the slowest to the fastest, which is how DeepSpeed's pipeline numbers its ranks too."""


@dataclass(frozen=True)
class Axis:
    """The ranks that differ from this one in one place alone."""

    size: int
    rank: int
    """The place of this rank among them."""
    group: Any
    """Their process group."""


@dataclass(frozen=True)
class Mesh:
    """The place of this rank."""

    pipeline: Axis
    replica: Axis
    """Those that compute other rows."""
    sequence: Axis
    tensor: Axis
    data: Axis
    """Replicas and the shares of their rows: ZeRO divides over them, and gradients are summed."""

    @classmethod
    def of_world(cls, parallel: Settled) -> Self:
        """All ranks spread as the recipe says; the process group is up and their number fits."""
        from deepspeed.accelerator import get_accelerator
        from torch.distributed.device_mesh import init_device_mesh

        replicas = dist.get_world_size() // parallel.replica_size
        sizes = (parallel.pipeline, replicas, parallel.sequence, parallel.tensor)
        mesh = init_device_mesh(get_accelerator().device_name(), sizes, mesh_dim_names=AXES)
        flat = mesh["replica", "sequence"]._flatten("data")
        axes = {name: _axis(mesh[name]) for name in AXES}
        return cls(**axes, data=_axis(flat))


def _axis(mesh: Any) -> Axis:
    return Axis(mesh.size(), mesh.get_local_rank(), mesh.get_group())

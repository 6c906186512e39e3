"""The mesh in the words by which DeepSpeed asks for it."""

from typing import Any

import torch.distributed as dist

from fsft.runtime.train.mesh import Mesh


class ModelParallelUnit:
    """What deepspeed.initialize takes as `mpu`: who divides the model, who the data.

    ZeRO divides over the data ranks. Norms are summed over the model ranks, to which only the first
    of them adds what all of them hold.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Without a pipeline, which has a unit of its own."""
        self._data, self._tensor = mesh.data, mesh.tensor

    def get_data_parallel_group(self) -> Any:
        """The group that ZeRO divides over and that gradients are averaged over."""
        return self._data.group

    def get_data_parallel_rank(self) -> int:
        """The place in it."""
        return self._data.rank

    def get_data_parallel_world_size(self) -> int:
        """Its size."""
        return self._data.size

    def get_data_parallel_group_ranks(self) -> list[int]:
        """Its ranks, by their number in the world."""
        return dist.get_process_group_ranks(self._data.group)

    def get_tensor_model_parallel_group(self) -> Any:
        """The group that divides each weight."""
        return self._tensor.group

    def get_tensor_model_parallel_rank(self) -> int:
        """The place in it."""
        return self._tensor.rank

    def get_tensor_model_parallel_world_size(self) -> int:
        """Its size."""
        return self._tensor.size

    get_model_parallel_group = get_tensor_model_parallel_group
    get_model_parallel_rank = get_tensor_model_parallel_rank
    get_model_parallel_world_size = get_tensor_model_parallel_world_size

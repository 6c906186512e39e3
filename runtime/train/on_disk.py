"""Checkpoints of optimizer states that lie on NVMe disks, in the form of those that lie in memory.

DeepSpeed copies its files as they are, for the same layout and directory alone. Here they are read
through a mapping, so that what is saved does not tell where the states lay.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def is_on_disk(engine: Any) -> bool:
    """Whether the optimizer's states lie on NVMe disks."""
    return bool(getattr(engine.optimizer, "swap_optimizer", False))


@contextmanager
def as_in_memory(engine: Any) -> Iterator[None]:
    """While a checkpoint is saved or loaded: states on disk are reached as those in memory are."""
    if not is_on_disk(engine):
        yield
        return
    optimizer = engine.optimizer
    swapped = list(optimizer.optimizer_swapper.swap_params_info.values())
    for info in swapped:
        for tensor in info.tensors:
            tensor.compute_tensor.data = torch.from_file(
                tensor.swap_path, size=info.numel(), dtype=info.dtype()
            )
    engine.zero_nvme_offload_optimizer = lambda: False
    optimizer.load_state_dict = lambda **given: _load(optimizer, **given)
    try:
        yield
    finally:
        del engine.zero_nvme_offload_optimizer, optimizer.load_state_dict
        for info in swapped:
            info.release_memory()


def _load(
    optimizer: Any, state_dict_list: Any, checkpoint_folder: str | None = None, **_: Any
) -> None:
    """Load a checkpoint, or one in universal format, part by part, and write each to its files."""
    if checkpoint_folder is None:
        saved = state_dict_list[dist.get_rank(group=optimizer.dp_process_group)]
        parts, groups = _saved_parts(saved), saved["optimizer_state_dict"]
    else:
        folder = Path(checkpoint_folder) / "zero"
        groups = torch.load(folder / "optimizer_state.pt", weights_only=False)
        groups = groups["optimizer_state_dict"]
        parts = _universal_parts(optimizer, folder, groups["state"][0]["step"])
    for own, loaded in zip(optimizer.optimizer.param_groups, groups["param_groups"], strict=True):
        own["lr"] = loaded["lr"]
    for number, (weights, state) in enumerate(parts):
        own_weights = optimizer.fp32_partitioned_groups_flat[number]
        is_swapped = optimizer._swappable_optimizer_subgroup(number)
        if is_swapped:
            # DeepSpeed writes a part only where it has read it into its own buffers.
            optimizer._optimizer_states_and_gradient_swap_in(number)
        own_weights.data.copy_(weights)
        optimizer.optimizer.state[own_weights] = state
        # The weights to compute with, wherever they lie.
        optimizer._reassign_or_swap_out_partitioned_parameters(number)
        if is_swapped:
            optimizer.optimizer_swapper.swap_out_optimizer_state(own_weights)


_Part = tuple[torch.Tensor, dict[str, Any]]
"""Float32 weights of a part, and its moments and step."""


def _saved_parts(saved: dict[str, Any]) -> Iterator[_Part]:
    states = saved["optimizer_state_dict"]["state"]
    for number, weights in enumerate(saved["fp32_flat_groups"]):
        yield weights, states[number]


def _universal_parts(optimizer: Any, folder: Path, step: Any) -> Iterator[_Part]:
    for parameters in optimizer.fp16_groups:
        flat = {
            key: torch.cat(
                [
                    optimizer.load_hp_checkpoint_state(
                        str(folder / optimizer.param_names[parameter]), key, param=parameter
                    )
                    for parameter in parameters
                ]
            )
            for key in ("fp32", "exp_avg", "exp_avg_sq")
        }
        yield flat.pop("fp32"), {"step": step, **flat}

"""The float32 weights in a DeepSpeed checkpoint, one tensor at a time."""

from pathlib import Path
from typing import Any


def checkpoint_weights(checkpoint: Path, *, zero_stage: int) -> dict[str, Any]:
    """Name to weight, each with shape and dtype; `.contiguous()` brings it into memory.

    ZeRO 1 to 3 keep float32 master weights, spread over the optimizer files of all processes;
    ZeRO 0 keeps the weights themselves in the model file.
    """
    import torch

    if zero_stage > 0:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        return dict(
            get_fp32_state_dict_from_zero_checkpoint(
                str(checkpoint.parent), tag=checkpoint.name, lazy_mode=True
            )
        )
    state = torch.load(
        checkpoint / "mp_rank_00_model_states.pt", map_location="cpu", mmap=True, weights_only=False
    )
    return dict(state["module"])

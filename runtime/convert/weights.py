"""The weights in a DeepSpeed checkpoint, one tensor at a time."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsft.runtime.train.marks import CheckpointMark
from fsft.runtime.train.whole_experts import whole_weights


def checkpoint_weights(checkpoint: Path, mark: CheckpointMark) -> dict[str, Any]:
    """Name to weight, each with shape and dtype; `.contiguous()` brings it into memory.

    ZeRO 1 to 3 keep float32 master weights, spread over the optimizer files of all processes;
    ZeRO 0 keeps the weights themselves in the model file. The stages of a pipeline have files of
    their own.
    """
    from fsft.runtime.train.slices import Joined
    from fsft.runtime.train.universal import first_state

    if mark.expert > 1:
        return whole_weights(checkpoint, mark)
    ranks = [_of_stages(checkpoint, rank, mark) for rank in range(mark.tensor)]
    if len(ranks) == 1:
        return ranks[0]
    saved = first_state(checkpoint)
    whole = {
        name: Joined.of(name, [weights[name] for weights in ranks], saved) for name in ranks[-1]
    }
    # Which names share a weight is noted by the first rank alone.
    return whole | {name: whole[first] for name, first in (saved["shared_params"] or {}).items()}


def _of_stages(checkpoint: Path, rank: int, mark: CheckpointMark) -> dict[str, Any]:
    """What one tensor parallel rank has of each weight, in all stages of a pipeline."""
    weights: dict[str, Any] = {}
    for stage in range(mark.pipeline):
        weights |= _of_rank(checkpoint, stage * mark.tensor + rank, mark.zero)
    return weights


def _of_rank(checkpoint: Path, rank: int, zero_stage: int) -> dict[str, Any]:
    """What the files of one model parallel rank hold."""
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    own = f"mp_rank_{rank:02d}_"
    if zero_stage == 0:
        path = checkpoint / f"{own}model_states.pt"
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=False)
        return dict(state["module"])
    with TemporaryDirectory() as folder:
        # DeepSpeed takes the first rank for the only one.
        for path in checkpoint.glob(f"*{own}*"):
            (Path(folder) / path.name.replace(own, "mp_rank_00_")).symlink_to(path.resolve())
        return dict(
            get_fp32_state_dict_from_zero_checkpoint(
                str(Path(folder).parent), tag=Path(folder).name, lazy_mode=True
            )
        )

"""Checkpoints without what only the optimizer needs.

DeepSpeed leaves out nothing of it: exclude_frozen_parameters is about other weights, and
save_16bit_model gathers all on one process, rounded. What is taken out here is what DeepSpeed's own
zero_to_fp32 does not read, so that converting stays the same.
"""

from typing import Any

_MOMENTS = ("base_optimizer_state", "optimizer_state_dict")
"""The state of torch's optimizer, as ZeRO 1 and 2 call it, and ZeRO 3."""


def weights_of(state: dict[str, Any]) -> dict[str, Any]:
    """What a file of a checkpoint holds, without the moments; `state` stays as it is.

    With ZeRO the float32 weights stay, each process its part: 4 bytes a parameter instead of 12.
    """
    kept = dict(state)
    if "optimizer" in kept:
        kept["optimizer"] = None
    divided = kept.get("optimizer_state_dict")
    if isinstance(divided, dict):
        kept["optimizer_state_dict"] = {k: v for k, v in divided.items() if k not in _MOMENTS}
    return kept

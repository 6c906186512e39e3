"""Activation checkpointing: what forward does not keep is computed again in backward.

Works on transformers' models, which checkpoint layer by layer.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

_aten = torch.ops.aten

# bmm is not among them: where attention is not fused, its output is a score per pair of tokens.
MATMULS = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.linear.default,
        _aten._grouped_mm.default,
    }
)
"""Products with weights, of which selective checkpointing keeps every second output."""

FUSED_ATTENTIONS = frozenset(
    {
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
        _aten._scaled_dot_product_fused_attention_overrideable.default,
    }
)
"""Attention without a tensor of scores, whose outputs selective checkpointing keeps."""


def apply_checkpointing(model: Any, mode: str, *, every: int = 1, offload: bool = False) -> None:
    """Make one of `every` layers of a transformers model keep as little as `mode` says.

    "none" keeps all, "full" the input of each layer, "selective" besides that the outputs of the
    1st, 3rd, 5th … matrix multiplication of a layer and of its fused attention, as torchtitan does.
    `offload` keeps the inputs in pinned host memory; the copies wait for the device.
    """
    if mode == "none":
        return
    arguments: dict[str, Any] = {"use_reentrant": False}
    if mode == "selective":
        arguments["context_fn"] = _selective_contexts
    model.activation_checkpointing_enable(arguments, every_n_layers=every)
    if offload:
        for module in model.modules():
            if recompute := getattr(module, "_gradient_checkpointing_func", None):
                module._gradient_checkpointing_func = partial(_offloaded, recompute)


def _offloaded(checkpoint: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a checkpointed layer, and let its input wait on the host.

    transformers' own offload pins memory even where there is no device to pin it for.
    """
    from deepspeed.accelerator import get_accelerator

    device = get_accelerator().device_name()
    with save_on_cpu(pin_memory=device != "cpu", device_type=device):
        return checkpoint(*args, **kwargs)


def _selective_contexts() -> Any:
    # Called once for each layer and forward, so that each counts from its own first product.
    return create_selective_checkpoint_contexts(_every_second())


def _every_second() -> Callable[..., CheckpointPolicy]:
    # Forward and the computation in backward go through the same products, each counted for itself.
    counted: Counter[bool] = Counter()

    def policy(
        context: SelectiveCheckpointContext, operation: Any, *_: Any, **__: Any
    ) -> CheckpointPolicy:
        if operation in FUSED_ATTENTIONS:
            return CheckpointPolicy.MUST_SAVE
        if operation in MATMULS:
            counted[context.is_recompute] += 1
            if counted[context.is_recompute] % 2 == 1:
                return CheckpointPolicy.MUST_SAVE
        return CheckpointPolicy.PREFER_RECOMPUTE

    return policy

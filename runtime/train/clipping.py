"""Gradient clipping where each process holds all averaged gradients of its weights."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from fsft.runtime.train.expert import group_of_experts, is_spread


def clip_gradients(engine: Any, limit: float) -> float:
    """Scale the gradients to at most `limit`, the norm of all of them; returns what it was.

    What other ranks hold of a weight, or of its layer's experts, is part of the norm. DeepSpeed's
    clip_grad_norm_ waits for all ranks once more, to average what each of them knows, and writes
    gradients that are within the limit too.
    """
    from deepspeed.runtime.utils import is_model_parallel_parameter

    # By the group that divides them; None is what every rank holds.
    shares: dict[Any, list[torch.Tensor]] = {None: []}
    trained = [p for p in engine.module.parameters() if p.requires_grad]
    for parameter in trained:
        group = None
        if is_spread(parameter):
            group = group_of_experts(parameter)
        elif is_model_parallel_parameter(parameter):
            group = engine.mpu.get_tensor_model_parallel_group()
        # Every rank of a group waits for the others, whatever it has gradients of.
        gradients = shares.setdefault(group, [])
        if parameter.grad is not None:
            gradients.append(parameter.grad)
    squared = _squared_norm(shares.pop(None), engine.device)
    for group, gradients in shares.items():
        part = _squared_norm(gradients, engine.device)
        dist.all_reduce(part, group=group)
        squared += part
    norm = squared.sqrt()
    if norm > limit:
        torch.nn.utils.clip_grads_with_norm_(trained, limit, norm)
    return float(norm)


def _squared_norm(gradients: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    norms = [torch.linalg.vector_norm(each, dtype=torch.float32) for each in gradients]
    return torch.stack([torch.zeros((), device=device), *norms]).square().sum()

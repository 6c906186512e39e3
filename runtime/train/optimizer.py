"""AdamW and its learning rate."""

from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import LRScheduler

from fsft.recipes.schema import Optimizer


def make_optimizer(model: torch.nn.Module, settings: Optimizer) -> torch.optim.AdamW:
    """Torch's fused AdamW; vectors (norms and biases) are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.ndim >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    beta1, beta2 = settings.betas
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(beta1, beta2),
        eps=settings.eps,
        fused=True,
    )


def schedule_maker(
    settings: Optimizer, total_steps: int
) -> Callable[[torch.optim.Optimizer], LRScheduler]:
    """Makes the schedule once DeepSpeed has wrapped the optimizer."""
    from transformers import get_scheduler

    names = {"constant": "constant_with_warmup"}

    def make(optimizer: torch.optim.Optimizer) -> LRScheduler:
        scheduler: LRScheduler = get_scheduler(
            names.get(settings.schedule, settings.schedule),
            optimizer,
            num_warmup_steps=round(settings.warmup * total_steps),
            num_training_steps=total_steps,
        )
        return scheduler

    return make

"""AdamW and its learning rate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from fsft.recipes.schema import Optimizer


def make_optimizer(
    model: torch.nn.Module, settings: Optimizer, *, on_host: bool = False
) -> torch.optim.Optimizer:
    """Torch's fused AdamW, or DeepSpeed's for the host's cores, which offloading needs.

    Vectors (norms and biases) are not decayed. Experts that are spread over ranks have groups of
    their own, which DeepSpeed knows them by.
    """
    from deepspeed.moe.utils import split_params_into_different_moe_groups_for_optimizer

    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "name": "matrices",
            "params": [p for p in parameters if p.ndim >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"name": "vectors", "params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = split_params_into_different_moe_groups_for_optimizer(groups)
    groups = [group for group in groups if group["params"]]
    beta1, beta2 = settings.betas
    if on_host:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(
            groups,
            lr=settings.learning_rate,
            betas=(beta1, beta2),
            eps=settings.eps,
            adamw_mode=True,
        )
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(beta1, beta2),
        eps=settings.eps,
        fused=True,
    )


@contextmanager
def own_settings(engine: Any) -> Iterator[None]:
    """While a checkpoint is loaded: the optimizer keeps its settings, but for the learning rate.

    The checkpoint may be of the other AdamW, whose groups have other keys and whose step is of
    another type; and ZeRO 3 loads universal ones with the settings of the first group for all, and
    with one tensor as everybody's step, which AdamW then counts up once for each group.
    """
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    kept = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    yield
    for group, settings in zip(optimizer.param_groups, kept, strict=True):
        loaded = {"params": group["params"], "lr": group["lr"]}
        group.clear()
        group.update(settings | loaded)
    counts = not isinstance(optimizer, torch.optim.AdamW)
    for parameter, state in optimizer.state.items():
        step = float(state["step"])
        state["step"] = int(step) if counts else torch.tensor(step, device=parameter.device)


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

"""The DeepSpeed engine for a recipe."""

from typing import Any

import torch

from fsft.recipes.schema import Recipe
from fsft.runtime.train.optimizer import make_optimizer, schedule_maker


def make_engine(model: torch.nn.Module, recipe: Recipe, total_steps: int) -> Any:
    """The model, its optimizer and schedule, spread over all processes."""
    import deepspeed

    if recipe.parallel.activation_checkpointing == "full":
        model.gradient_checkpointing_enable(  # type: ignore[operator]
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=make_optimizer(model, recipe.optimizer),
        lr_scheduler=schedule_maker(recipe.optimizer, total_steps),
        config=deepspeed_config(recipe),
        dist_init_required=False,
    )
    return engine


def gradient_step(engine: Any) -> float:
    """Update the weights from the accumulated gradients; returns their norm before clipping.

    ZeRO and bf16 keep the norm that they clip by. Plain float32 training does not, but leaves the
    whole averaged gradient in each process until the step.
    """
    own_norm = None
    if engine.zero_optimization_stage() == 0 and not engine.bfloat16_enabled():
        gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
        own_norm = torch.nn.utils.get_total_norm(gradients)
    engine.step()
    return float(engine.get_global_grad_norm() if own_norm is None else own_norm)


def deepspeed_config(recipe: Recipe) -> dict[str, Any]:
    """What the recipe says, in DeepSpeed's terms."""
    return {
        "train_micro_batch_size_per_gpu": recipe.parallel.micro_batch,
        "gradient_accumulation_steps": recipe.parallel.gradient_accumulation,
        "gradient_clipping": recipe.optimizer.clip,
        "zero_optimization": {"stage": recipe.parallel.zero},
        "bf16": {"enabled": recipe.model.dtype == "bfloat16"},
        # fsft reports each step itself.
        "steps_per_print": 2**62,
    }

"""The DeepSpeed engine for a recipe."""

import math
from pathlib import Path
from typing import Any

import torch

from fsft.recipes.schema import Recipe
from fsft.runtime.train.activation_checkpointing import apply_checkpointing
from fsft.runtime.train.clipping import clip_gradients
from fsft.runtime.train.compile import compile_layers
from fsft.runtime.train.expert import spread_experts
from fsft.runtime.train.head_loss import compute_loss_at_head
from fsft.runtime.train.mesh import Mesh
from fsft.runtime.train.model import computing_dtype
from fsft.runtime.train.model_parallel import ModelParallelUnit
from fsft.runtime.train.offload import offload_settings
from fsft.runtime.train.optimizer import make_optimizer, schedule_maker
from fsft.runtime.train.pipeline import Pipeline, save_as_whole
from fsft.runtime.train.shares import divide
from fsft.runtime.train.stages import NO_STAGES, Stages


def make_engine(
    model: torch.nn.Module,
    recipe: Recipe,
    mesh: Mesh,
    total_steps: int,
    *,
    stages: Stages = NO_STAGES,
    load_universal: bool = False,
    nvme: Path | None = None,
) -> Any:
    """The model, its optimizer and schedule, spread over all processes.

    `model`: this rank's share of each weight, where the recipe divides them.
    `stages`: what each stage has, where there is a pipeline.
    `load_universal`: the checkpoint to come was saved in another layout, and is converted.
    `nvme`: the folder for what goes to NVMe.
    """
    import deepspeed

    settled = recipe.parallel.settled
    if not stages:
        compute_loss_at_head(model)
    apply_checkpointing(
        model,
        settled.activation_checkpointing,
        every=recipe.parallel.activation_checkpointing_every,
        offload=recipe.parallel.activation_offload,
    )
    if recipe.model.compile:
        compile_layers(model)
    if stages:
        model = Pipeline(model, stages, mesh)
    initialize = deepspeed.initialize
    if settled.expert > 1:
        from fsft.runtime.train.expert_engine import initialize

        spread_experts(model, settled.expert)
    config = {**deepspeed_config(recipe), "checkpoint": {"load_universal": load_universal}}
    largest = -(-max(p.numel() for p in model.parameters()) // mesh.data.size)
    config["zero_optimization"] |= offload_settings(recipe.parallel, nvme, largest)
    on_host = settled.offload_optimizer != "none"
    optimizer = make_optimizer(model, recipe.optimizer, on_host=on_host)
    if settled.zero == 3:
        divide(model, config, computing_dtype(recipe.model), mesh.data.group)
    engine, *_ = initialize(
        model=model,
        optimizer=optimizer,
        lr_scheduler=schedule_maker(recipe.optimizer, total_steps),
        config=config,
        dist_init_required=False,
        mpu=None if stages else ModelParallelUnit(mesh),
    )
    if _is_plain(recipe) and recipe.model.dtype == "bfloat16":
        _forget_first_step(engine.optimizer)
    if stages:
        save_as_whole(engine)
    return engine


def gradient_step(engine: Any, recipe: Recipe) -> float:
    """Update the weights from the accumulated gradients; returns their norm before clipping."""
    norm = None
    if _is_plain(recipe):
        norm = clip_gradients(engine, recipe.optimizer.clip or math.inf)
    engine.step()
    return float(engine.get_global_grad_norm()) if norm is None else norm


def deepspeed_config(recipe: Recipe) -> dict[str, Any]:
    """What the recipe says, in DeepSpeed's terms."""
    return {
        "train_micro_batch_size_per_gpu": recipe.parallel.settled.micro_batch,
        "gradient_accumulation_steps": recipe.parallel.settled.gradient_accumulation,
        "gradient_clipping": 0.0 if _is_plain(recipe) else recipe.optimizer.clip,
        "zero_optimization": {"stage": recipe.parallel.settled.zero},
        "bf16": {"enabled": recipe.model.dtype == "bfloat16"},
        # Parts of activations would be cut as those of the first micro batch are.
        "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
        # fsft reports each step itself.
        "steps_per_print": 2**62,
    }


def _forget_first_step(optimizer: Any) -> None:
    """Undo the step without gradients, decay and all, by which DeepSpeed makes moments here."""
    optimizer.optimizer.state.clear()
    for masters, weights in zip(optimizer.fp32_groups, optimizer.fp16_groups, strict=True):
        for master, weight in zip(masters, weights, strict=True):
            master.data.copy_(weight)


def _is_plain(recipe: Recipe) -> bool:
    """Without ZeRO every process holds all averaged gradients of its weights until the step.

    There DeepSpeed clips by a norm that it does not tell in float32, and in bfloat16 takes from
    the first tensor parallel rank alone; so fsft clips instead.
    """
    return recipe.parallel.settled.zero == 0

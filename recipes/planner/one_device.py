"""What the formulas say of one micro batch on one device, to be set beside a traced step."""

from typing import NamedTuple

from fsft.recipes.planner.compute import FLASH_BACKWARD
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import kept_after_forward, plan_memory
from fsft.recipes.planner.time import flops_per_token


class OneDevice(NamedTuple):
    """Bytes and FLOPs; `kept` is left by forward, `peak` the most that is held besides weights."""

    parameters: int
    weights: float
    kept: float
    peak: float
    flops: float | None
    """Products of all pairs of tokens, masked or not; None with selective checkpointing."""


def on_one_device(job: Job, layout: Layout) -> OneDevice:
    """One micro batch of `layout` as if the whole model were on one device, which holds no states.

    Gradients, which come into being while activations go, are not in `peak`.
    """
    alone = layout._replace(
        zero=0,
        data=1,
        tensor=1,
        pipeline=1,
        sequence=1,
        expert=1,
        gradient_accumulation=1,
        offload_activations="none",
    )
    memory = plan_memory(job, alone)
    steps = (moment for moment in memory.moments if moment.phase == "train")
    return OneDevice(
        job.shape.num_parameters,
        job.style.weight_bytes * job.shape.num_parameters,
        kept_after_forward(job, alone),
        max(moment.activations + moment.logits for moment in steps),
        _flops(job, alone),
    )


def _flops(job: Job, layout: Layout) -> float | None:
    if layout.checkpointing == "selective":
        return None
    matmul, attention, head = flops_per_token(job)
    again = layout.share_recomputed
    # The causal half is all that is needed, but counters of operations see whole products.
    attended = 2 * attention * (1 + FLASH_BACKWARD + again)
    tokens = layout.micro_batch * job.sequence_length
    return tokens * (matmul * (3 + again) + attended + 3 * head)

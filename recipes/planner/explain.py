"""The arithmetic behind a plan, with the numbers filled in."""

from collections.abc import Iterator

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.head import tokens_at_once
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import (
    COMMUNICATOR_BYTES,
    Memory,
    micro_batches_in_flight,
)
from fsft.recipes.planner.ranges import memory_range, time_range
from fsft.recipes.planner.split import WORDS, units_per_stage
from fsft.recipes.planner.stages import stage_activations, stage_parameters
from fsft.recipes.planner.time import StepTime
from fsft.recipes.units import format_count, format_gib


def explain_memory(job: Job, layout: Layout, memory: Memory) -> Iterator[str]:
    """One line for each component of the fullest rank, and one for their sum at the peak."""
    style, peak = job.style, memory.peak
    if layout.pipeline > 1:
        yield stages_words(job, layout.pipeline)
    part = stage_parameters(job, layout.tensor, layout.pipeline, memory.stage)
    split = f" on 1 of {layout.tensor} tensor ranks" if layout.tensor > 1 else ""
    stage = f" of stage {memory.stage}" if layout.pipeline > 1 else ""
    yield (
        f"parameters{stage}{split} = {format_count(float(part.dense))} outside of experts"
        f" + {format_count(float(part.experts))} in experts / {layout.expert}"
    )
    for name, each, value, stages in (
        ("weights", style.weight_bytes, peak.weights, 3),
        ("gradients", style.gradient_bytes, peak.gradients, 2),
        ("optimizer", style.optimizer_bytes_under(layout.zero), peak.optimizer, 1),
    ):
        divided = f" / {layout.shards} (ZeRO {layout.zero})" if layout.zero >= stages else ""
        yield f"{name} = {each:g} B × parameters{divided} = {format_gib(value)}"
    per_token, working = stage_activations(job, layout, memory.stage)
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    in_flight = micro_batches_in_flight(layout, memory.stage)
    kept = per_token * tokens * in_flight
    yield (
        f"activations kept = {per_token:,.0f} B/token × {tokens:,.0f} tokens × "
        f"{in_flight:g} in flight = {format_gib(kept)} ({layout.checkpointing_words} checkpointing)"
    )
    yield (
        f"one layer at work = {working:,.0f} B/token × {tokens:,.0f} tokens = "
        f"{format_gib(working * tokens)}"
    )
    at_once = tokens_at_once(job, tokens)
    gradients = ""
    if style.loss == "head" and not job.shape.changes_logits:
        gradients = " and the head's gradients"
    yield (
        f"logits and loss = {style.logit_bytes:g} B × {job.shape.vocab_size:,} × "
        f"{at_once:,.0f} tokens at once{gradients} = {format_gib(memory.moments[0].logits)}"
    )
    yield f"buffers = {format_gib(peak.buffers)} (gathered weights, communication, step)"
    for moment in memory.moments:
        mark = "→" if moment is peak else " "
        yield f"{mark} {moment.phase}, {moment.name}: {format_gib(moment.total)}"
    outside = memory.device_total - memory.reserved
    yield f"allocated {format_gib(memory.allocated)} → reserved {format_gib(memory.reserved)}"
    yield (
        f"device total = reserved + {format_gib(style.context_bytes)} context + "
        f"{(outside - style.context_bytes) / COMMUNICATOR_BYTES:.0f} communicators × "
        f"{format_gib(COMMUNICATOR_BYTES)} = {format_gib(memory.device_total)}"
    )
    low, _, high = memory_range(memory.device_total, style.family)
    yield f"range from published runs: {format_gib(low)} to {format_gib(high)}"
    yield (
        f"host memory = {format_gib(memory.host)} a rank in training, "
        f"{format_gib(memory.host_loading)} while loading, "
        f"{format_gib(memory.host_converting)} to convert a checkpoint"
    )


def stages_words(job: Job, stages: int) -> str:
    """How many units each stage of a pipeline has, and why."""
    sizes = units_per_stage(job.shape, stages, job.split, job.sequence_length, job.units)
    even = {
        "even": "even in number",
        "cost": "even in arithmetic",
        "measured": "even in arithmetic; measured when training starts",
        "memory": "even in parameters",
    }
    why = even[job.split] if isinstance(job.split, str) else "as given"
    return f"stages = {' + '.join(map(str, sizes))} {WORDS[job.units]} ({why})"


def explain_time(job: Job, layout: Layout, time: StepTime, cluster: Cluster) -> Iterator[str]:
    """Seconds of one optimizer step by component, and what follows from them."""
    tokens = layout.global_batch * job.sequence_length
    yield (
        f"a step = {layout.micro_batch} × {layout.gradient_accumulation} × {layout.data} sequences"
        f" × {job.sequence_length:,} = {tokens:,} tokens"
    )
    for name, seconds in time.components.items():
        if seconds:
            yield f"{name} {seconds:.3f} s ({seconds / time.seconds:.0%})"
    low, _, high = time_range(time.seconds, job.style.family)
    yield f"together {time.seconds:.3f} s; range from published runs {low:.3f} to {high:.3f} s"
    yield (
        f"model FLOPs a device {time.model_flops / 1e12:,.0f} T / {time.seconds:.3f} s = "
        f"{time.model_flops / time.seconds / 1e12:,.0f} TFLOPS (MFU {time.mfu:.1%}; "
        f"{time.hfu:.1%} with what is recomputed)"
    )
    cost = plan_cost(job, layout, time, cluster)
    if cost.steps is not None and cost.device_hours is not None:
        yield (
            f"{cost.steps:,} steps × {time.seconds:.3f} s = {cost.days:.2f} days, "
            f"{cost.device_hours:,.0f} device hours"
        )
    if cost.saving_seconds:
        yield f"of that {cost.saving_seconds:,.0f} s to write checkpoints"
    if cost.kilowatt_hours is not None and cost.device_hours is not None:
        yield (
            f"energy = {cost.device_hours:,.0f} device hours × {cluster.accelerator.watts:g} W = "
            f"{cost.kilowatt_hours:,.0f} kWh at most, without the machines around the devices"
        )
    if cost.price is not None and cost.device_hours is not None:
        price = cluster.price_per_device_hour
        yield f"price = {cost.device_hours:,.0f} device hours × {price:g} = {cost.price:,.0f}"

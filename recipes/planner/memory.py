"""Memory of one rank: every component at every moment of a run, and the highest moment."""

from collections.abc import Iterable
from typing import NamedTuple

from fsft.recipes.planner.head import loss_bytes
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.method import BITS
from fsft.recipes.planner.stages import (
    StageParameters,
    input_bytes,
    largest_linear,
    outside_bytes,
    shared_bytes,
    stage_activations,
    stage_parameters,
    stages_apart,
    vision_bytes,
)

BUCKET = 500_000_000
"""DeepSpeed's default reduce and gather buckets, in elements."""
PREFETCH = 50_000_000
"""DeepSpeed's default for weights that ZeRO-3 gathers ahead, in elements."""
SUBGROUP = 1_000_000_000
"""DeepSpeed's default for the weights that one optimizer kernel updates, in elements."""
COMMUNICATOR_BYTES = 0.5 * 2**30
"""Buffers of one NCCL communicator (rule of okoge-kaz' memory estimator)."""
CHECKPOINT_BYTES = 4.0
"""A checkpoint's float32 master weights, for each parameter."""
PROCESS_BYTES = 2.5 * 2**30
"""Host memory of a Python process with torch, CUDA and DeepSpeed loaded."""


MOMENTS = (
    ("train", "loss"),
    ("train", "backward of the last layer"),
    ("train", "end of backward"),
    ("train", "optimizer step"),
    ("evaluate", "loss"),
    ("save", "write checkpoint"),
)
Held = tuple[float, float, float, float, float, float]
"""Bytes of weights, gradients, optimizer, activations, logits and buffers, as in Moment."""


class Moment(NamedTuple):
    """Bytes that one rank holds at one moment, by component."""

    phase: str
    """train, evaluate or save."""
    name: str
    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    """Gathered weights, communication buckets, and what the optimizer step needs for itself."""

    @property
    def total(self) -> float:
        """All components."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.buffers
        )


class Memory(NamedTuple):
    """Memory of the fullest rank, in bytes: one of pipeline stage `stage`.

    `allocated` is what tensors take at the peak, `reserved` what the allocator holds then,
    `device_total` what the driver reports: with context and communicators. `host` and `disk` are
    for one rank while it trains; `host_loading` while the weights are read; `host_converting` for
    the one process that turns a checkpoint into a model.
    """

    held: tuple[Held, ...]
    """At each of MOMENTS."""
    stage: int
    allocated: float
    reserved: float
    device_total: float
    host: float
    host_loading: float
    host_converting: float
    disk: float

    @property
    def moments(self) -> tuple[Moment, ...]:
        """What is held at each of MOMENTS, by component."""
        return tuple(Moment(*at, *held) for at, held in zip(MOMENTS, self.held, strict=True))

    @property
    def peak(self) -> Moment:
        """The moment that decides."""
        return max(self.moments, key=lambda moment: moment.total)

    def peak_of(self, phase: str) -> Moment:
        """The fullest moment of a phase."""
        return max((m for m in self.moments if m.phase == phase), key=lambda m: m.total)


def plan_memory(job: Job, layout: Layout, *, stage: int | None = None) -> Memory:
    """Memory of `layout`; of the fullest pipeline stage, or of `stage`."""
    if stage is not None:
        return _stage_memory(job, layout, stage)
    stages: Iterable[int] = stages_apart(job, layout.pipeline)
    if layout.checkpointed_every > 1:
        # Stages of the same layers may have another number of checkpointed ones.
        stages = range(layout.pipeline)
    each = (_stage_memory(job, layout, stage) for stage in stages)
    return max(each, key=lambda memory: memory.device_total)


def _stage_memory(job: Job, layout: Layout, stage: int) -> Memory:
    style, zero = job.style, layout.zero
    part = stage_parameters(job, layout.tensor, layout.pipeline, stage)
    states = _states(job, layout, part)
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    per_token, per_token_working = stage_activations(job, layout, stage)
    in_flight = micro_batches_in_flight(layout, stage)
    activations: float = per_token * tokens * in_flight
    if stage == 0 and job.num_patches:
        activations += vision_bytes(job) * layout.micro_batch * in_flight
    if layout.pipeline > 1:
        boundary = style.compute_bytes * job.shape.hidden * tokens
        sides = (
            style.pipeline_copies
            if 0 < stage < layout.pipeline - 1
            else min(1.0, style.pipeline_copies)
        )
        activations += sides * boundary * in_flight
    stays, goes = outside_bytes(job, layout.pipeline, stage, layout.checkpointing)
    outside_ranks = layout.tensor if layout.sequence_in_tensor else 1
    activations += stays * tokens / outside_ranks + shared_bytes(job, layout.checkpointing)
    ending = goes * tokens / outside_ranks
    working = per_token_working * tokens
    waiting = 0.0
    if layout.offload_activations == "cpu":
        waiting = input_bytes(job, layout, stage) * tokens * in_flight
    logits = evaluated = 0.0
    if stage == layout.pipeline - 1:
        parts = layout.tensor if style.vocabulary_parallel else 1
        logits, _, evaluated = loss_bytes(job, tokens, parts)
    gathered, reduced = _buffers(job, layout, part, states)
    step = 0.0
    if layout.offload_optimizer == "none" and style.copies_gradients:
        step = 4.0 * min(SUBGROUP, states.updated)
    weights, optimizer, held = states.weights, states.optimizer, states.held
    # The third stage has its bucket for gradients all the time.
    kept = reduced if zero == 3 and style.sharded_weights == "zero" else 0.0
    moments = (
        (weights, held, optimizer, activations + ending, logits, gathered + kept),
        (weights, held, optimizer, activations + working, 0.0, gathered + reduced),
        (weights, states.all_gradients, optimizer, working, 0.0, gathered + reduced),
        (weights, states.gradients, optimizer, 0.0, 0.0, step + kept),
        (weights, held, optimizer, working, evaluated, gathered + kept),
        (weights, held, optimizer, 0.0, 0.0, kept),
    )
    allocated = max(map(sum, moments))
    reserved = allocated * style.reserved_per_allocated
    if zero == 3:
        reserved += style.lost_to_gathering * (weights + states.gradients + optimizer)
    communicators = (
        style.communicators
        + (layout.data > 1)
        + (layout.tensor > 1)
        + (layout.pipeline > 1)
        + (layout.sequence > 1)
        + (layout.expert > 1)
    )
    return Memory(
        moments,
        stage,
        allocated,
        reserved,
        reserved + style.context_bytes + communicators * COMMUNICATOR_BYTES,
        PROCESS_BYTES + states.host + waiting,
        PROCESS_BYTES + style.loading_bytes * (part.dense + part.experts),
        PROCESS_BYTES + CHECKPOINT_BYTES * job.shape.num_parameters,
        states.disk,
    )


class States(NamedTuple):
    """Bytes of model states on one rank; `updated` is the number of weights that it updates."""

    weights: float
    gradients: float
    """After they are reduced."""
    all_gradients: float
    """When backward has just ended."""
    held: float
    """From one micro batch to the next."""
    optimizer: float
    updated: float
    on_rank: float
    """Parameters before ZeRO divides them."""
    trained: float
    host: float
    disk: float


def _states(job: Job, layout: Layout, part: StageParameters) -> States:
    """ZeRO (arXiv 1910.02054): stage 1 divides optimizer states, 2 gradients, 3 weights."""
    style, zero = job.style, layout.zero
    shards = layout.shards
    expert_ranks = layout.expert if layout.expert > 1 else layout.tensor
    expert_shards = max(1, shards * layout.tensor // expert_ranks)
    experts = part.experts / expert_ranks
    trained_experts = part.trained_experts / expert_ranks
    on_rank = part.dense + experts
    trained = part.trained_dense + trained_experts
    divided = part.trained_dense / shards + trained_experts / expert_shards

    weights = style.weight_bytes * on_rank
    if part.quantized:
        bits = BITS[job.method.quantization or "nf4"]
        stored = part.quantized - part.experts + experts
        weights -= stored * (style.weight_bytes - bits / 8)
    if zero == 3:
        weights *= (part.dense / shards + experts / expert_shards) / on_rank
    optimizer = style.optimizer_bytes_under(zero) * (divided if zero >= 1 else trained)
    all_gradients = gradients = style.gradient_bytes * trained
    if zero >= 2:
        all_gradients = gradients = style.gradient_bytes * divided
    others = style.other_gradient_bytes * trained
    held = 0.0
    if style.whole_gradients and zero == 3 and layout.gradient_accumulation > 1:
        held = gradients = all_gradients = style.gradient_bytes * on_rank
    elif style.held_gradients or (zero == 3 and style.sharded_weights == "zero"):
        # DeepSpeed's third stage keeps the room for them.
        held = gradients
    elif layout.gradient_accumulation > 1:
        held = gradients + others
    all_gradients += others

    host = disk = 0.0
    if layout.offload_optimizer != "none":
        # Gradients leave in buckets; the update happens where the states are.
        if layout.offload_optimizer == "cpu":
            host += optimizer + style.gradient_bytes * divided
        else:
            disk += optimizer
            host += style.gradient_bytes * divided + 4.0 * min(SUBGROUP, divided)
        optimizer = 0.0
        if zero >= 2:
            gradients = held = 0.0
            all_gradients = min(all_gradients, style.gradient_bytes * BUCKET)
    if layout.offload_weights == "cpu":
        host += weights
        weights = 0.0
    elif layout.offload_weights == "nvme":
        disk += weights
        host += style.weight_bytes * min(SUBGROUP, divided)
        weights = 0.0
    updated = divided if zero else trained
    return States(
        weights,
        gradients,
        all_gradients,
        held,
        optimizer,
        updated,
        on_rank,
        trained,
        host,
        disk,
    )


def _buffers(
    job: Job, layout: Layout, part: StageParameters, states: States
) -> tuple[float, float]:
    """Bytes of weights gathered for computing, and of gradients on their way to other ranks."""
    style = job.style
    gathered = 0.0
    if part.quantized:
        # A quantized matrix is written out in full to be multiplied with.
        gathered = style.compute_bytes * largest_linear(job) / layout.tensor
    if style.sharded_weights == "fsdp" and layout.zero == 3:
        in_use = part.outside + 2 * part.largest_layer if layout.reshard else states.on_rank
        return gathered + style.compute_bytes * in_use, 4.0 * part.largest_layer
    if layout.zero == 3:
        in_use = max(part.largest_layer + PREFETCH, part.outside)
        gathered += style.compute_bytes * min(states.on_rank, in_use)
    reduced = 0.0
    if layout.zero or layout.shards > 1:
        reduced = style.gradient_bytes * min(BUCKET, states.trained)
    return gathered, reduced


def kept_after_forward(job: Job, layout: Layout) -> float:
    """Bytes that one micro batch leaves for backward on one device without a pipeline.

    Activations of all layers, what is kept outside them, and what the loss leaves.
    """
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    layers, _ = stage_activations(job, layout._replace(pipeline=1), 0)
    outside = sum(outside_bytes(job, 1, 0, layout.checkpointing))
    shared = shared_bytes(job, layout.checkpointing)
    return tokens * (layers + outside) + loss_bytes(job, tokens).kept + shared


def micro_batches_in_flight(layout: Layout, stage: int) -> float:
    """Micro batches whose activations a stage holds at once under 1F1B, interleaved or not.

    Interleaved (arXiv 2104.04473): warm-up of 2·(p − 1 − i) + (v − 1)·p chunks, and one more.
    """
    p, v, m = layout.pipeline, layout.virtual_stages, layout.gradient_accumulation
    if p == 1:
        return 1.0
    if v == 1:
        return float(min(m, p - stage))
    return min(m * v, 2 * (p - 1 - stage) + (v - 1) * p + 1) / v

"""Memory of one rank: every component at every moment of a step, and the highest moment."""

from dataclasses import dataclass
from functools import lru_cache

from fsft.recipes.models.shape import Experts, Layer, Linear, ModelShape
from fsft.recipes.planner.activations import Saved, saved_by_layer, working_set
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.method import BITS, linears_of

BUCKET = 500_000_000
"""DeepSpeed's default reduce and gather buckets, in elements."""
PREFETCH = 50_000_000
"""DeepSpeed's default for weights that ZeRO-3 gathers ahead, in elements."""
SUBGROUP = 1_000_000_000
"""DeepSpeed's default for the weights that one optimizer kernel updates, in elements."""
CONTEXT_BYTES = 0.5 * 2**30
"""A CUDA context with lazily loaded kernels (stas00/ml-engineering: 0.47 GiB)."""
COMMUNICATOR_BYTES = 0.5 * 2**30
"""Buffers of one NCCL communicator (rule of okoge-kaz' memory estimator)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Bytes that one rank holds at one moment, by component."""

    name: str
    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float

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


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the fullest rank: `moments` in the order of a step, `stage` in the pipeline.

    `allocated` is what tensors take at the peak, `reserved` what the allocator holds then,
    `device_total` what the driver reports: with context and communicators. All in bytes.
    """

    moments: tuple[Moment, ...]
    stage: int
    reserved: float
    device_total: float
    host: float
    """Bytes of host memory for this rank."""
    disk: float

    @property
    def peak(self) -> Moment:
        """The moment that decides."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def allocated(self) -> float:
        """Bytes of tensors at the peak."""
        return self.peak.total


def plan_memory(job: Job, layout: Layout, *, stage: int | None = None) -> Memory:
    """Memory of `layout`; of the fullest pipeline stage, or of `stage`."""
    if stage is not None:
        return _stage_memory(job, layout, stage)
    last = layout.pipeline - 1
    first = _stage_memory(job, layout, 0)
    if last == 0:
        return first
    other = _stage_memory(job, layout, last)
    return first if first.device_total >= other.device_total else other


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of one rank's stage, before ZeRO, and what it keeps per token."""

    dense: float
    experts: float
    trained_dense: float
    trained_experts: float
    quantized: float
    num_layers: float
    largest_layer: float
    outside: float
    """Parameters of embedding and head."""


def _stage_memory(job: Job, layout: Layout, stage: int) -> Memory:
    style = job.style
    part = stage_part(job, layout.tensor, layout.pipeline, stage)
    dense_shards = layout.shards
    expert_ranks = layout.expert if layout.expert > 1 else layout.tensor
    expert_shards = max(1, dense_shards * layout.tensor // expert_ranks)
    experts = part.experts / expert_ranks
    trained_experts = part.trained_experts / expert_ranks
    zero = layout.zero

    def sharded(per_parameter: float, from_stage: int, dense: float, expert: float) -> float:
        if zero >= from_stage:
            return per_parameter * (dense / dense_shards + expert / expert_shards)
        return per_parameter * (dense + expert)

    total = part.dense + experts
    trained = part.trained_dense + trained_experts
    weights = sharded(style.weight_bytes, 3, part.dense, experts)
    if part.quantized:
        bits = BITS[job.method.quantization or "nf4"]
        saved = part.quantized * (style.weight_bytes - bits / 8)
        weights -= saved / dense_shards if zero >= 3 else saved
    optimizer = sharded(style.optimizer_bytes, 1, part.trained_dense, trained_experts)
    all_gradients = style.gradient_bytes * (part.trained_dense + trained_experts)
    gradients = sharded(style.gradient_bytes, 2, part.trained_dense, trained_experts)
    host = disk = 0.0
    if layout.offload_optimizer != "none":
        moved = optimizer + gradients
        host, disk = (moved, 0.0) if layout.offload_optimizer == "cpu" else (gradients, optimizer)
        optimizer = 0.0
        gradients = 0.0
    if layout.offload_weights != "none":
        if layout.offload_weights == "cpu":
            host += weights
        else:
            disk += weights
        weights = 0.0

    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    saved, working = _stage_activations(job, layout, stage)
    in_flight = _in_flight(layout, stage)
    activations = saved * tokens * in_flight
    if stage == 0 and job.shape.vision and job.num_patches:
        activations += _vision_bytes(job) * layout.micro_batch * in_flight
    work = working * tokens
    is_last = stage == layout.pipeline - 1
    logits = _logit_bytes(job, layout, tokens) if is_last else 0.0

    gathered = 0.0
    if style.sharded_weights == "fsdp" and zero == 3:
        gathered = style.compute_bytes * (
            (part.outside + 2 * part.largest_layer) if layout.reshard else total
        )
        reduce = 4.0 * part.largest_layer
    else:
        if zero == 3:
            live = part.largest_layer + PREFETCH
            gathered = style.compute_bytes * min(total, max(live, part.outside))
        reduce = style.gradient_bytes * min(BUCKET, trained) if dense_shards > 1 or zero else 0.0
    dequantized = 2.0 * _largest_linear(job.shape) / layout.tensor if part.quantized else 0.0
    others = style.other_gradient_bytes * (part.trained_dense + trained_experts)
    held = 0.0
    if style.held_gradients:
        held = all_gradients if zero < 2 else gradients
    elif layout.gradient_accumulation > 1:
        held = gradients + others
    if style.whole_gradients and zero == 3 and layout.gradient_accumulation > 1:
        held = gradients = style.gradient_bytes * total
    if layout.offload_optimizer != "none":
        all_gradients = min(all_gradients, style.gradient_bytes * BUCKET)

    moments = (
        Moment("loss", weights, held, optimizer, activations, logits, gathered + dequantized),
        Moment(
            "backward of the last layer",
            weights,
            held,
            optimizer,
            activations + work,
            0.0,
            gathered + reduce + dequantized,
        ),
        Moment(
            "end of backward",
            weights,
            (gradients if zero >= 2 else all_gradients) + others,
            optimizer,
            work,
            0.0,
            gathered + reduce + dequantized,
        ),
        Moment(
            "optimizer step",
            weights,
            gradients,
            optimizer,
            0.0,
            0.0,
            _step_buffers(job, layout, trained / dense_shards if zero else trained),
        ),
    )
    peak = max(moment.total for moment in moments)
    reserved = peak * style.reserved_per_allocated
    if zero == 3:
        reserved += style.lost_to_gathering * (weights + gradients + optimizer)
    communicators = style.communicators + sum(
        degree > 1 for degree in (layout.data, layout.tensor, layout.pipeline, layout.sequence)
    )
    context = CONTEXT_BYTES + communicators * COMMUNICATOR_BYTES
    return Memory(moments, stage, reserved, reserved + context, host, disk)


def _step_buffers(job: Job, layout: Layout, trained: float) -> float:
    """Float32 copies of gradients for the group of weights that is being updated."""
    if layout.offload_optimizer != "none" or job.style.sharded_weights == "fsdp":
        return 0.0
    if job.style.gradient_bytes >= 4:
        return 0.0
    return 4.0 * min(SUBGROUP, trained)


def _logit_bytes(job: Job, layout: Layout, tokens: float) -> float:
    learned = tokens * job.logit_share
    if job.loss_chunk is not None:
        learned = min(learned, job.loss_chunk)
    split = layout.tensor if job.style.vocabulary_parallel else 1
    return learned * job.shape.vocab_size / split * job.style.logit_bytes


def _in_flight(layout: Layout, stage: int) -> float:
    """Micro batches whose activations a stage holds at once under 1F1B, interleaved or not.

    Interleaved (arXiv 2104.04473): warm-up of 2·(p − 1 − i) + (v − 1)·p chunks, and one more.
    """
    p, v, m = layout.pipeline, layout.virtual_stages, layout.gradient_accumulation
    if p == 1:
        return 1.0
    if v == 1:
        return float(min(m, p - stage))
    chunks = min(m * v, 2 * (p - 1 - stage) + (v - 1) * p + 1)
    return chunks / v


def stage_layers(num_layers: int, pipeline: int, stage: int) -> tuple[int, int]:
    """First layer and one past the last of a stage: as even as can be, the larger ones first."""
    each, more = divmod(num_layers, pipeline)
    first = stage * each + min(stage, more)
    return first, first + each + (1 if stage < more else 0)


@lru_cache(maxsize=1024)
def stage_part(job: Job, tensor: int, pipeline: int, stage: int) -> Part:
    """Parameters of one pipeline stage on one of `tensor` ranks.

    Norms and other vectors are on every tensor rank; matrices and tables are divided.
    """
    shape, method = job.shape, job.method
    layers = _layers_of_stage(shape, pipeline, stage)
    whole = dense = experts = quantized = adapters = 0.0
    largest = 0.0
    for layer, count in layers:
        matrices = sum(part.num_parameters for part in linears_of_once(layer))
        vectors = layer.num_parameters - layer.num_expert_parameters - matrices
        on_rank = matrices / tensor + max(0.0, vectors)
        dense += count * on_rank
        experts += count * layer.num_expert_parameters
        whole += count * layer.num_parameters
        largest = max(largest, on_rank + layer.num_expert_parameters / tensor)
        if method.type == "qlora":
            linear = layer.attention.num_matmul_parameters + (
                layer.num_expert_parameters or layer.feed_forward.num_matmul_parameters
            )
            quantized += count * linear / tensor
        if method.has_adapters:
            adapters += count * _adapters(job, layer)
    outside = 0.0
    is_first, is_last = stage == 0, stage == pipeline - 1
    if is_first:
        outside += shape.num_embedding_parameters / tensor
        outside += (shape.encoder.num_parameters if shape.encoder else 0) / tensor
        outside += shape.vision.num_parameters if shape.vision else 0
    if is_last:
        head = shape.num_head_parameters
        if shape.tied and pipeline > 1:
            head += shape.vocab_size * (shape.embedding_width or shape.hidden)
        outside += head / tensor
        norms = sum(norm.num_parameters for norm in (*shape.final_norms, *shape.encoder_norms))
        outside += norms
    dense += outside
    if method.type == "full":
        trained_dense, trained_experts = dense, experts
    elif method.has_adapters:
        trained_dense = adapters / tensor + (outside if method.train_embeddings else 0.0)
        trained_experts = 0.0
        # peft trains a copy of what it saves beside the adapters.
        dense += trained_dense
    elif method.type == "freeze":
        first, end = stage_layers(shape.stack.num_layers, pipeline, stage)
        share = max(0, end - max(first, shape.stack.num_layers - method.num_layers))
        share_of = share / max(1, end - first)
        trained_dense, trained_experts = (dense - outside) * share_of, experts * share_of
    else:
        trained_dense, trained_experts = float(job.num_trained if is_first else 0), 0.0
    depth = sum(count for _, count in layers)
    return Part(dense, experts, trained_dense, trained_experts, quantized, depth, largest, outside)


def linears_of_once(layer: Layer) -> tuple[Linear, ...]:
    """Matrices outside of experts."""
    block = layer.feed_forward
    found = list(layer.attention.linears)
    if layer.cross_attention:
        found += layer.cross_attention.linears
    if isinstance(block, Experts):
        found += block.shared.linears if block.shared else ()
    else:
        found += block.linears
    return tuple(found)


def _adapters(job: Job, layer: Layer) -> float:
    block = layer.feed_forward
    total = 0.0
    for linear in linears_of(layer):
        if job.method.adapts(linear):
            is_expert = isinstance(block, Experts) and linear in block.expert.linears
            copies = block.num_experts if isinstance(block, Experts) and is_expert else 1
            total += copies * job.method.rank * (linear.inputs + linear.outputs)
    return total


@lru_cache(maxsize=1024)
def _layers_of_stage(shape: ModelShape, pipeline: int, stage: int) -> tuple[tuple[Layer, int], ...]:
    if pipeline == 1:
        return shape.stack.layers
    first, end = stage_layers(shape.stack.num_layers, pipeline, stage)
    found: list[tuple[Layer, int]] = []
    position = 0
    for layer, count in shape.stack.layers:
        overlap = min(end, position + count) - max(first, position)
        if overlap > 0:
            found.append((layer, overlap))
        position += count
    return tuple(found)


def _stage_activations(job: Job, layout: Layout, stage: int) -> tuple[float, float]:
    """Bytes per token that a stage keeps, and that its largest layer works with besides."""
    layers = _layers_of_stage(job.shape, layout.pipeline, stage)
    saved = 0.0
    working = 0.0
    for layer, count in layers:
        kept: Saved = saved_by_layer(layer, job.style, job.method, layout.checkpointing)
        saved += count * kept.on_one_of(layout.tensor, all_split=layout.sequence_in_tensor)
        if layout.checkpointing == "none":
            saved += count * _kept_besides(job, layout, layer)
        work = working_set(layer, job.style, job.method)
        if layout.checkpointing == "none":
            work = Saved(
                max(0.0, work.replicated - kept.replicated), max(0.0, work.split - kept.split)
            )
        working = max(working, work.on_one_of(layout.tensor, all_split=layout.sequence_in_tensor))
    return saved, working


def _kept_besides(job: Job, layout: Layout, layer: Layer) -> float:
    """Bytes per token that depend on the layout: scores, and inputs kept as they were gathered."""
    style, attention = job.style, layer.attention
    kept = style.scores_bytes * attention.num_heads * job.sequence_length / layout.tensor
    if style.gathered_inputs and layout.sequence_in_tensor:
        kept += 2 * style.compute_bytes * attention.hidden * (1 - 1 / layout.tensor)
    return kept


def _vision_bytes(job: Job) -> float:
    """Bytes that the vision tower keeps for one sample; a frozen tower keeps nothing."""
    vision = job.shape.vision
    if vision is None or job.method.freezes:
        return 0.0
    per_patch = sum(
        count
        * (
            saved_by_layer(layer, job.style, job.method).on_one_of(1)
            + job.style.scores_bytes * layer.attention.num_heads * job.num_patches
        )
        for layer, count in vision.stack.layers
    )
    return per_patch * job.num_patches


@lru_cache(maxsize=64)
def _largest_linear(shape: ModelShape) -> float:
    return max(
        float(linear.inputs * linear.outputs)
        for layer, _ in shape.stack.layers
        for linear in linears_of(layer)
    )

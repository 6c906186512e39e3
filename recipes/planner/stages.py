"""What one pipeline stage holds on one tensor parallel rank, before ZeRO divides it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsft.recipes.models.shape import Experts, Layer, Linear, ModelShape
from fsft.recipes.planner.activations import (
    MASK_BYTES,
    Saved,
    mask_bytes,
    norm_bytes,
    pair_bytes,
    saved_by_layer,
    score_gradient_bytes,
    shared_mask_bytes,
    working_set,
)
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout
from fsft.recipes.planner.method import Method
from fsft.recipes.planner.split import units_per_layer, units_per_stage

SUMMED = frozenset({"o", "down"})
"""Matrices whose inputs are divided over tensor parallel ranks, not their outputs."""


@dataclass(frozen=True, slots=True)
class StageParameters:
    """Parameters of a stage; experts are counted whole, for they are divided in their own way."""

    dense: float
    experts: float
    trained_dense: float
    trained_experts: float
    quantized: float
    """Dense and expert weights that are stored in few bits."""
    largest_layer: float
    outside: float
    """Embedding, head, and whatever else is not in a layer of the stack."""


@lru_cache(maxsize=4096)
def stage_parameters(job: Job, tensor: int, pipeline: int, stage: int) -> StageParameters:
    """Matrices and the vocabulary are divided over `tensor` ranks; norms and positions are not."""
    shape, method = job.shape, job.method
    dense = experts = adapters = quantized = largest = 0.0
    for layer, count in layers_of_stage(job, pipeline, stage):
        divided = sum(_num_divided(linear) for linear in _divided_linears(layer))
        whole = layer.num_parameters - layer.num_expert_parameters - divided
        on_rank = divided / tensor + whole
        dense += count * on_rank
        experts += count * layer.num_expert_parameters
        largest = max(largest, on_rank + layer.num_expert_parameters / tensor)
        if method.type == "qlora":
            weights = sum(part.inputs * part.outputs for part in _dense_linears(layer))
            quantized += count * (weights / tensor + layer.num_expert_parameters)
        adapters += count * _adapter_parameters(method, layer) / tensor
    outside = _outside(shape, tensor, pipeline, stage)
    dense += outside
    trained_experts = 0.0
    if method.type == "full":
        trained, trained_experts = dense, experts
    elif method.has_adapters:
        trained = adapters + (outside if method.train_embeddings else 0.0)
        # What is trained besides the adapters is a copy of what stays frozen (peft).
        dense += trained
    elif method.type == "freeze":
        share = _share_of_last(job, method.num_layers, pipeline, stage)
        trained, trained_experts = (dense - outside) * share, experts * share
    else:
        trained = float(method.num_virtual_tokens * shape.hidden) if stage == 0 else 0.0
        dense += trained
    return StageParameters(dense, experts, trained, trained_experts, quantized, largest, outside)


def stage_activations(job: Job, layout: Layout, stage: int) -> tuple[float, float]:
    """Bytes per token that a stage keeps for backward, and what its fullest layer adds to them."""
    kept, working = _activations(
        job,
        layout.tensor,
        layout.pipeline,
        stage,
        layout.checkpointing,
        layout.sequence_in_tensor,
        layout.checkpointed_every,
    )
    if layout.offload_activations == "none":
        return kept, working
    # The layer that is computed again has its input back.
    one = job.style.compute_bytes * job.shape.hidden
    return kept - input_bytes(job, layout, stage), working + one


def input_bytes(job: Job, layout: Layout, stage: int) -> float:
    """Bytes per token of the inputs of a stage's checkpointed layers."""
    if layout.checkpointing == "none":
        return 0.0
    return _input_bytes(job, layout.pipeline, stage, layout.checkpointed_every)


@lru_cache(maxsize=4096)
def _input_bytes(job: Job, pipeline: int, stage: int, every: int) -> float:
    return sum(
        _checkpointed(first, count, every) * job.style.compute_bytes * layer.attention.hidden
        for layer, first, count in _placed(job, pipeline, stage)
    )


@lru_cache(maxsize=4096)
def _activations(
    job: Job,
    tensor: int,
    pipeline: int,
    stage: int,
    checkpointing: Checkpointing,
    all_split: bool,
    every: int,
) -> tuple[float, float]:
    """`all_split` divides norms and dropouts over the tensor ranks as well."""
    saved = fullest = 0.0
    style, method = job.style, job.method
    for layer, first, number in _placed(job, pipeline, stage):
        kept = saved_by_layer(layer, style, method, checkpointing)
        count = number if every == 1 else _checkpointed(first, number, every)
        saved += count * kept.on_one_of(tensor, all_split=all_split)
        extra = _kept_besides(job, layer, tensor, all_split)
        if count < number:
            whole = saved_by_layer(layer, style, method).on_one_of(tensor, all_split=all_split)
            saved += (number - count) * (whole + extra)
        work = working_set(layer, style, method)
        if checkpointing == "none":
            saved += count * extra
            work = Saved(work.replicated - kept.replicated, work.split - kept.split)
            extra = 0.0
        elif checkpointing == "selective":
            # What was kept is there already, and not computed again.
            work = Saved(work.replicated - kept.replicated, work.split - kept.split)
        extra += score_gradient_bytes(layer.attention, style, job.sequence_length) / tensor
        fullest = max(fullest, work.on_one_of(tensor, all_split=all_split) + extra)
    if stage == 0 and job.shape.encoder:
        for layer, count in job.shape.encoder.layers:
            saved += count * saved_by_layer(layer, style, method, checkpointing).on_one_of(tensor)
    return saved, fullest


@lru_cache(maxsize=1024)
def outside_bytes(
    job: Job, pipeline: int, stage: int, checkpointing: Checkpointing
) -> tuple[float, float]:
    """Bytes per token that a stage keeps outside its layers.

    First what stays until backward has ended: positions, masks, what the embedding keeps. Then what
    is gone when backward reaches the layers: the last norm, the head's input.
    """
    shape, style, method = job.shape, job.style, job.method
    attention = shape.stack.layers[0][0].attention
    turned = attention.head_width * attention.rotary_share if attention.rotary else 0.0
    stays = 2 * style.compute_bytes * turned
    if checkpointing != "none":
        layers = [layer for layer, _ in layers_of_stage(job, pipeline, stage)]
        stays += mask_bytes(layers, style, job.sequence_length)
    if stage == 0:
        stays += sum(norm_bytes(norm, style, method) for norm in shape.embedding_norms)
        stays += MASK_BYTES * shape.hidden if shape.embedding_dropout else 0.0
    goes = 0.0
    if stage == pipeline - 1:
        goes += sum(norm_bytes(norm, style, method) for norm in shape.final_norms)
        if style.picks_positions:
            goes += job.logit_share * style.compute_bytes * shape.hidden
        if shape.caps_logits:
            goes += job.logit_share * style.compute_bytes * shape.vocab_size
    return stays, goes


@lru_cache(maxsize=1024)
def shared_bytes(job: Job, checkpointing: Checkpointing) -> float:
    """Bytes of masks that all sequences and layers share."""
    if checkpointing == "none":
        return 0.0
    layers = (layer for layer, _ in job.shape.stack.layers)
    return shared_mask_bytes(layers, job.style, job.sequence_length)


@lru_cache(maxsize=256)
def vision_bytes(job: Job) -> float:
    """Bytes that the vision tower keeps for one sequence; a frozen tower keeps nothing."""
    vision = job.shape.vision
    if vision is None or job.method.freezes:
        return 0.0
    per_patch = 0.0
    for layer, count in vision.stack.layers:
        kept = saved_by_layer(layer, job.style, job.method).on_one_of(1)
        scores = job.style.scores_bytes * layer.attention.num_heads * job.num_patches
        if job.style.attention == "scores":
            scores += pair_bytes(layer.attention, job.style, job.num_patches)
        per_patch += count * (kept + scores)
    return per_patch * job.num_patches


@lru_cache(maxsize=256)
def largest_linear(job: Job) -> float:
    """Weights of the largest matrix."""
    return max(
        float(linear.inputs * linear.outputs)
        for layer, _ in job.shape.stack.layers
        for linear in (*_dense_linears(layer), *_expert_linears(layer))
    )


def _placed(job: Job, pipeline: int, stage: int) -> Iterator[tuple[Layer, int, int]]:
    """The layers of a stage: equal ones together, the place of the first of them, their number."""
    place = 0
    if pipeline > 1:
        place = _ends_of_stage(job, pipeline, stage)[0] // units_per_layer(job.units)
    for layer, count in layers_of_stage(job, pipeline, stage):
        yield layer, place, count
        place += count


def _checkpointed(first: int, count: int, every: int) -> int:
    """How many of `count` layers from the place `first` on are checkpointed: each `every`th."""
    return -(-(first + count) // every) + (-first // every)


@lru_cache(maxsize=4096)
def layers_of_stage(job: Job, pipeline: int, stage: int) -> tuple[tuple[Layer, int], ...]:
    """The layers of a stage, equal ones together; the first and the last may be half of one."""
    stack = job.shape.stack
    if pipeline == 1:
        return stack.layers
    size = units_per_layer(job.units)
    first, end = _ends_of_stage(job, pipeline, stage)
    found: list[tuple[Layer, int]] = []
    position = 0
    for layer, count in stack.layers:
        start, stop = max(first, position), min(end, position + count * size)
        position += count * size
        if start >= stop:
            continue
        if start % size:
            found.append((layer.halves[1], 1))
            start += 1
        if whole := (stop - start) // size:
            found.append((layer, whole))
        if (stop - start) % size:
            found.append((layer.halves[0], 1))
    return tuple(found)


@lru_cache(maxsize=1024)
def stages_apart(job: Job, pipeline: int) -> tuple[int, ...]:
    """Of stages between the first and the last that have the same layers, the first; and the ends.

    Those after it hold fewer micro batches in flight.
    """
    if pipeline == 1:
        return (0,)
    between: dict[tuple[tuple[Layer, int], ...], int] = {}
    for stage in range(1, pipeline - 1):
        between.setdefault(layers_of_stage(job, pipeline, stage), stage)
    return (0, *between.values(), pipeline - 1)


@lru_cache(maxsize=4096)
def _ends_of_stage(job: Job, pipeline: int, stage: int) -> tuple[int, int]:
    """Its first unit, and one past its last."""
    sizes = units_per_stage(job.shape, pipeline, job.split, job.sequence_length, job.units)
    first = sum(sizes[:stage])
    return first, first + sizes[stage]


def _outside(shape: ModelShape, tensor: int, pipeline: int, stage: int) -> float:
    outside = 0.0
    # Of two projections beside a narrow embedding, one is behind the layers.
    behind = shape.num_embedding_projection_parameters / 2
    if stage == 0:
        words = shape.vocab_size * (shape.embedding_width or shape.hidden)
        outside += words / tensor + shape.num_embedding_parameters - words - behind
        outside += (shape.encoder.num_parameters if shape.encoder else 0) / tensor
        outside += shape.vision.num_parameters if shape.vision else 0
    if stage == pipeline - 1:
        head = shape.num_head_parameters
        if shape.tied and pipeline > 1:
            head += shape.vocab_size * (shape.embedding_width or shape.hidden)
        outside += head / tensor + behind
        outside += sum(norm.num_parameters for norm in (*shape.final_norms, *shape.encoder_norms))
    return outside


def _share_of_last(job: Job, num_trained: int, pipeline: int, stage: int) -> float:
    first, end = _ends_of_stage(job, pipeline, stage)
    untrained = (job.shape.stack.num_layers - num_trained) * units_per_layer(job.units)
    return max(0, end - max(first, untrained)) / max(1, end - first)


def _dense_linears(layer: Layer) -> tuple[Linear, ...]:
    block = layer.feed_forward
    found = list(layer.attention.linears)
    if layer.cross_attention:
        found += layer.cross_attention.linears
    if isinstance(block, Experts):
        found += block.shared.linears if block.shared else ()
    else:
        found += block.linears
    return tuple(found)


def _divided_linears(layer: Layer) -> tuple[Linear, ...]:
    held = layer.attention.linears if "attention weights" in layer.whole else ()
    return tuple(linear for linear in _dense_linears(layer) if linear not in held)


def _num_divided(linear: Linear) -> int:
    """Parameters of a matrix of which each tensor parallel rank has its share."""
    if linear.name in {"q_a", "kv_a"}:
        # The heads of all ranks share what these give (DeepSeek-V2).
        return 0
    # A bias of what is summed over the ranks is added after.
    return linear.inputs * linear.outputs if linear.name in SUMMED else linear.num_parameters


def _expert_linears(layer: Layer) -> tuple[Linear, ...]:
    block = layer.feed_forward
    return block.expert.linears if isinstance(block, Experts) else ()


def _adapter_parameters(method: Method, layer: Layer) -> float:
    """Rank · (inputs + outputs) for each matrix that has an adapter (arXiv 2106.09685)."""
    block = layer.feed_forward
    copies = block.num_experts if isinstance(block, Experts) else 1
    sizes = [part.inputs + part.outputs for part in _dense_linears(layer) if method.adapts(part)]
    sizes += [
        copies * (part.inputs + part.outputs)
        for part in _expert_linears(layer)
        if method.adapts(part)
    ]
    return float(method.rank * sum(sizes))


def _kept_besides(job: Job, layer: Layer, tensor: int, all_split: bool) -> float:
    """Bytes per token that depend on the layout: scores, and inputs kept as they were gathered."""
    style, attention = job.style, layer.attention
    kept = style.scores_bytes * attention.num_heads * job.sequence_length
    kept += pair_bytes(attention, style, job.sequence_length)
    kept /= 1 if "attention" in layer.whole else tensor
    if style.gathered_inputs and all_split:
        kept += 2 * style.compute_bytes * attention.hidden * (1 - 1 / tensor)
    return kept

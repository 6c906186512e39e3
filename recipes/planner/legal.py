"""Which layouts a model, a cluster and a batch allow."""

from collections.abc import Iterator
from math import prod

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.models.shape import Experts, Layer, ModelShape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.split import Split, Units, why_not_split


def why_illegal(job: Job, layout: Layout, cluster: Cluster) -> str | None:
    """One clause on what forbids the layout; None where nothing does."""
    return next(_reasons(job, layout, cluster), None)


def _reasons(job: Job, layout: Layout, cluster: Cluster) -> Iterator[str]:
    shape = job.shape
    yield from tensor_reasons(shape, layout.tensor)
    if reason := why_not_in_node(layout.tensor, cluster.devices_per_node):
        yield reason
    yield from _pipeline_reasons(job, layout)
    yield from row_reasons(shape, job.sequence_length, layout.sequence)
    yield from head_reasons(shape, layout.sequence, layout.tensor)
    yield from expert_reasons(shape, layout)
    yield from offload_reasons(layout)
    if layout.offload_activations != "none" and layout.checkpointing == "none":
        yield "only inputs of checkpointed layers are offloaded"
    yield from _batch_reasons(job, layout, cluster)


def tensor_reasons(shape: ModelShape, tensor: int) -> Iterator[str]:
    """What keeps a model's weights from being divided by so many ranks, a clause each."""
    if tensor == 1:
        return
    if "tensor" not in shape.splits:
        yield f"{shape.architecture} has no tensor parallel plan"
        return
    divided = (each for layer, _ in shape.stack.layers for each in _divided_numbers(layer))
    for number, what in dict.fromkeys(divided):
        if number % tensor:
            yield f"{number} {what} cannot be divided by TP {tensor}"


def why_not_in_node(tensor: int, devices_per_node: int) -> str | None:
    """Ranks that divide weights are of one machine: no other link is fast enough."""
    if devices_per_node % tensor:
        return f"TP {tensor} does not stay inside a node of {devices_per_node}"
    return None


def _divided_numbers(layer: Layer) -> Iterator[tuple[int, str]]:
    """What tensor parallelism divides, where the model's plan does not leave it whole."""
    attention, block = layer.attention, layer.feed_forward
    if "attention" not in layer.whole:
        yield attention.num_heads, "heads"
        yield attention.num_kv_heads, "key-value heads"
    elif "attention weights" not in layer.whole:
        joined = attention.query_size + attention.key_size + attention.value_size
        yield joined, "columns of queries, keys and values"
        yield attention.output_size, "columns of attention"
    if isinstance(block, Experts):
        yield block.expert.width, "columns of an expert"
        if block.shared:
            yield block.shared.width, "columns of shared experts"
    else:
        yield block.width, "feed-forward columns"


def _pipeline_reasons(job: Job, layout: Layout) -> Iterator[str]:
    if layout.pipeline == 1:
        return
    if reason := why_no_stages(job.shape, job.split, layout.pipeline, job.units):
        yield reason
    if reason := why_not_staged(layout):
        yield reason
    if job.method.type == "qlora":
        yield "QLoRA does not run in a pipeline"


def why_not_staged(layout: Layout) -> str | None:
    """One clause on why its ZeRO stage does not go with a pipeline."""
    if layout.pipeline > 1 and layout.zero != 1:
        return f"a pipeline runs with ZeRO 1, not {layout.zero}"
    return None


def why_no_stages(
    shape: ModelShape, split: Split, stages: int, units: Units = "layers"
) -> str | None:
    """One clause on why a model's layers cannot be spread over several stages."""
    if shape.vision:
        return "a model that sees cannot be spread over stages"
    if "pipeline" not in shape.splits:
        return f"{shape.architecture} has no pipeline plan"
    return why_no_halves(shape, units) or why_not_split(
        split, stages, shape.stack.num_layers, units
    )


def why_no_halves(shape: ModelShape, units: Units) -> str | None:
    """One clause on why no stage can end within a layer, where one may."""
    for layer, _ in shape.stack.layers if units == "halves" else ():
        if layer.parallel:
            return (
                f"attention and feed-forward of {shape.architecture} read the same, and no stage "
                "can end between them"
            )
        if layer.cross_attention:
            return f"layers of {shape.architecture} are made of more than two blocks"
    return None


def row_reasons(shape: ModelShape, sequence_length: int, sequence: int) -> Iterator[str]:
    """What keeps rows from being divided among so many ranks."""
    if sequence == 1:
        return
    if shape.encoder or shape.vision:
        what = "rows with images" if shape.vision else "rows of an encoder"
        yield f"{what} cannot be divided"
    elif shape.own_attention:
        way = "lets tokens see each other in a way of its own, which gets no whole rows"
        yield f"{shape.architecture} {way}"
    if reason := why_not_even(sequence_length, sequence):
        yield reason


def why_not_even(sequence_length: int, sequence: int) -> str | None:
    """One clause on why not every rank gets as much of a row, whatever the model is."""
    if sequence_length % sequence:
        return f"{sequence_length} tokens cannot be divided by SP {sequence}"
    return None


def head_reasons(shape: ModelShape, sequence: int, tensor: int) -> Iterator[str]:
    """What keeps heads from being spread over the ranks that divide rows."""
    found = (_why_not_heads(layer, sequence, tensor) for layer, _ in shape.stack.layers)
    yield from dict.fromkeys(reason for reason in found if reason)


def _why_not_heads(layer: Layer, sequence: int, tensor: int) -> str | None:
    # Tensor parallelism divides the heads first.
    share = 1 if "attention" in layer.whole else tensor
    heads, kv_heads = (
        layer.attention.num_heads // share,
        layer.attention.num_kv_heads // share,
    )
    if heads % sequence:
        return f"{heads} heads cannot be divided by SP {sequence}"
    if kv_heads % sequence and sequence % kv_heads:
        return f"{kv_heads} key-value heads cannot be spread over SP {sequence}"
    return None


def expert_reasons(shape: ModelShape | None, layout: Layout) -> Iterator[str]:
    """What forbids spreading experts; `shape` is None where it is not known."""
    expert, ranks = layout.expert, layout.data * layout.sequence
    if expert == 1:
        return
    if layout.tensor > 1 or layout.pipeline > 1:
        yield "experts are spread over data parallel ranks only"
    elif ranks % expert:
        yield f"{ranks} data ranks cannot be divided by EP {expert}"
    if layout.zero == 3:
        yield "ZeRO 3 and expert parallelism exclude each other"
    if shape is not None and (reason := _why_not_spread(shape, expert)):
        yield reason


def _why_not_spread(shape: ModelShape, expert: int) -> str | None:
    if not shape.is_mixture:
        return f"{shape.architecture} has no experts"
    if "expert" not in shape.splits:
        return f"{shape.architecture} has no expert parallel plan"
    for layer, _ in shape.stack.layers:
        block = layer.feed_forward
        if isinstance(block, Experts) and block.num_experts % expert:
            return f"{block.num_experts} experts cannot be divided by EP {expert}"
    return None


def offload_reasons(layout: Layout) -> Iterator[str]:
    """What keeps states from being offloaded so."""
    optimizer, weights = layout.offload_optimizer, layout.offload_weights
    if optimizer != "none":
        if layout.zero == 0:
            yield "offloading needs ZeRO 1 or more"
        elif optimizer == "nvme" and layout.zero != 3:
            yield "offloading to NVMe needs ZeRO 3"
        if layout.pipeline > 1 or layout.expert > 1:
            yield "offloading goes neither with a pipeline nor with experts that are spread"
    if weights != "none":
        if layout.zero != 3:
            yield "offloading weights needs ZeRO 3"
        if optimizer == "none":
            yield "weights are offloaded after the optimizer"


def _batch_reasons(job: Job, layout: Layout, cluster: Cluster) -> Iterator[str]:
    if layout.num_devices != cluster.num_devices:
        yield f"uses {layout.num_devices} of {cluster.num_devices} devices"
    sizes = (layout.micro_batch, layout.gradient_accumulation, layout.data)
    if job.global_batch and (reason := why_not_batch(job.global_batch, *sizes)):
        yield reason
    if reason := why_idle(layout.pipeline, layout.gradient_accumulation):
        yield reason


def why_not_batch(
    global_batch: int, micro_batch: int | None, accumulation: int | None, replicas: int | None
) -> str | None:
    """One clause on why a step cannot have so many rows; None stands for what is not decided."""
    sizes = {"micro_batch {}": micro_batch, "{} replicas": replicas}
    if None in sizes.values():
        sizes["gradient_accumulation {}"] = accumulation
    divisors = {words.format(size): size for words, size in sizes.items() if size}
    if global_batch % prod(divisors.values()):
        return f"a global batch of {global_batch} cannot be divided by {' × '.join(divisors)}"
    if micro_batch and accumulation and replicas:
        product = micro_batch * accumulation * replicas
        if product != global_batch:
            return (
                f"micro_batch {micro_batch} × gradient_accumulation {accumulation} × "
                f"{replicas} replicas is {product}, not {global_batch}"
            )
    return None


def why_idle(pipeline: int, accumulation: int) -> str | None:
    """One clause on why most stages would wait for others."""
    if accumulation < pipeline:
        return f"{accumulation} micro batches leave most of {pipeline} stages idle"
    return None

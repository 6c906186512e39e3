"""Which layouts a model, a cluster and a batch allow."""

from collections.abc import Iterator

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.models.shape import Experts, Layer, ModelShape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.split import Split, Units, why_not_split


def why_illegal(job: Job, layout: Layout, cluster: Cluster) -> str | None:
    """One clause on what forbids the layout; None where nothing does."""
    return (
        _why_not_tensor(job.shape, layout.tensor, cluster)
        or _why_not_pipeline(job, layout)
        or _why_not_sequence(job, layout)
        or why_not_expert(job.shape, layout)
        or why_not_offload(layout)
        or _why_not_checkpointing(layout)
        or _why_not_batch(job, layout, cluster)
    )


def _why_not_tensor(shape: ModelShape, tensor: int, cluster: Cluster) -> str | None:
    if tensor == 1:
        return None
    if "tensor" not in shape.splits:
        return f"{shape.architecture} has no tensor parallel plan"
    if cluster.devices_per_node % tensor:
        return f"TP {tensor} does not stay inside a node of {cluster.devices_per_node}"
    for layer, _ in shape.stack.layers:
        for number, what in _divided_numbers(layer):
            if number % tensor:
                return f"{number} {what} cannot be divided by TP {tensor}"
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


def _why_not_pipeline(job: Job, layout: Layout) -> str | None:
    if layout.pipeline == 1:
        return None
    if reason := why_no_stages(job.shape, job.split, layout.pipeline, job.units):
        return reason
    if layout.zero != 1:
        return "a pipeline runs with ZeRO 1"
    if job.method.type == "qlora":
        return "QLoRA does not run in a pipeline"
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


def _why_not_sequence(job: Job, layout: Layout) -> str | None:
    sequence, tensor = layout.sequence, layout.tensor
    if sequence == 1:
        return None
    if job.shape.encoder or job.shape.vision:
        what = "rows with images" if job.shape.vision else "rows of an encoder"
        return f"{what} cannot be divided"
    if job.sequence_length % sequence:
        return f"{job.sequence_length} tokens cannot be divided by SP {sequence}"
    for layer, _ in job.shape.stack.layers:
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


def why_not_expert(shape: ModelShape | None, layout: Layout) -> str | None:
    """One clause on what forbids spreading experts; `shape` is None where it is not known."""
    expert, ranks = layout.expert, layout.data * layout.sequence
    if expert == 1:
        return None
    if layout.tensor > 1 or layout.pipeline > 1:
        return "experts are spread over data parallel ranks only"
    if layout.zero == 3:
        return "ZeRO 3 and expert parallelism exclude each other"
    if ranks % expert:
        return f"{ranks} data ranks cannot be divided by EP {expert}"
    return None if shape is None else _why_not_spread(shape, expert)


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


def _why_not_checkpointing(layout: Layout) -> str | None:
    if layout.offload_activations != "none" and layout.checkpointing == "none":
        return "only inputs of checkpointed layers are offloaded"
    return None


def why_not_offload(layout: Layout) -> str | None:
    """One clause on why states cannot be offloaded so; None where they can."""
    if layout.offload_optimizer != "none":
        if layout.zero == 0:
            return "offloading needs ZeRO 1 or more"
        if layout.offload_optimizer == "nvme" and layout.zero != 3:
            return "offloading to NVMe needs ZeRO 3"
        if layout.pipeline > 1 or layout.expert > 1:
            return "offloading goes neither with a pipeline nor with experts that are spread"
    if layout.offload_weights != "none":
        if layout.zero != 3:
            return "offloading weights needs ZeRO 3"
        if layout.offload_optimizer == "none":
            return "weights are offloaded after the optimizer"
    return None


def _why_not_batch(job: Job, layout: Layout, cluster: Cluster) -> str | None:
    if layout.num_devices != cluster.num_devices:
        return f"uses {layout.num_devices} of {cluster.num_devices} devices"
    if job.global_batch is None:
        return None
    if job.global_batch % layout.data:
        return f"a global batch of {job.global_batch} cannot be divided by DP {layout.data}"
    if layout.global_batch != job.global_batch:
        return (
            f"{layout.micro_batch} × {layout.gradient_accumulation} × {layout.data} is not a "
            f"global batch of {job.global_batch}"
        )
    if layout.pipeline > 1 and layout.gradient_accumulation < layout.pipeline:
        return (
            f"{layout.gradient_accumulation} micro batches leave most of {layout.pipeline} "
            "stages idle"
        )
    return None

"""Seconds that ranks exchange data: by volume, link, and number of messages."""

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.models.shape import Experts, Layer
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.speeds import Speeds
from fsft.recipes.planner.stages import layers_of_stage, stage_parameters

BUCKET_BYTES = 2.5e8
"""Gradients are reduced in pieces of this size."""
DEEPEP_SHARE = 0.9
"""DeepEP's kernels reach 43 to 47 GB/s of 50 between nodes with 32 ranks (its README)."""
OVERLAPPED_EXPOSED = 0.3
"""Share of the exchange of tokens that running it beside the other micro batch does not hide."""
ASYNC_EXPOSED = 0.4
"""Share of tensor parallel communication that async TP does not hide."""


def ring_speed(ranks: int, apart: int, cluster: Cluster, speeds: Speeds) -> float:
    """Bytes per second of a collective of `ranks` that are `apart` devices from each other.

    Between nodes all devices of a node that take part share their network cards.
    """
    within = (cluster.accelerator.link_bandwidth or 0.0) * speeds.link
    if ranks * apart <= cluster.devices_per_node:
        return within
    on_node = max(1, cluster.devices_per_node // apart)
    return min(within, cluster.inter_bandwidth * speeds.network * on_node)


def reduction_seconds(
    volume: float, ranks: int, apart: int, cluster: Cluster, speeds: Speeds
) -> float:
    """An all-reduce of `volume` bytes on each of `ranks` ranks.

    Rings carry every byte twice past every rank. Between two nodes NCCL's pair of trees carries it
    once in each direction, after a sum within each (NVIDIA, "Massively scale your deep learning
    training with NCCL 2.4"); the faster is taken.
    """
    passed = 2 * (1 - 1 / ranks) * volume
    ring = passed / ring_speed(ranks, apart, cluster, speeds)
    nodes = ranks * apart / cluster.devices_per_node
    if 1 < nodes <= 2:
        on_node = max(1, cluster.devices_per_node // apart)
        within = passed / ((cluster.accelerator.link_bandwidth or 1.0) * speeds.link)
        between = volume / (cluster.inter_bandwidth * speeds.network * on_node)
        return min(ring, within + between)
    return ring


def exchange_seconds(
    volume: float, ranks: int, apart: int, cluster: Cluster, speeds: Speeds
) -> float:
    """An all-to-all of `volume` bytes on each of `ranks` ranks, the part that stays included.

    What leaves a node goes through each device's own share of the network.
    """
    within = (cluster.accelerator.link_bandwidth or 1.0) * speeds.link
    on_node = max(1, cluster.devices_per_node // apart)
    if ranks <= on_node:
        return volume * (1 - 1 / ranks) / within
    away = volume * (1 - on_node / ranks)
    return volume / within + away / (cluster.inter_bandwidth * speeds.network)


def split_seconds(job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds) -> float:
    """Per micro batch: what tensor, sequence and expert parallelism exchange inside the layers."""
    seconds = 0.0
    if layout.tensor > 1:
        seconds += _tensor_seconds(job, layout, stage, cluster, speeds)
    if layout.sequence > 1:
        seconds += _sequence_seconds(job, layout, stage, cluster, speeds)
    if layout.expert > 1:
        seconds += _expert_seconds(job, layout, stage, cluster, speeds)
    return seconds


def _tensor_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """All-reduces: one for attention, one for what follows, forward, backward, and again.

    Where the sequence is divided each is a reduce-scatter and an all-gather; tokens that are
    divided go to their experts without them.
    """
    volume = _hidden_bytes(job, layout)
    blocks = sum(
        count * (_divided_blocks(layer) - (layout.sequence_in_tensor and _only_routes(layer)))
        for layer, count in layers_of_stage(job, layout.pipeline, stage)
    )
    number = blocks * (2 + layout.share_recomputed)
    exposed = ASYNC_EXPOSED if job.style.kernels.hides_tensor else 1.0
    if layout.sequence_in_tensor:
        passed = 2 * (1 - 1 / layout.tensor) * volume
        seconds = passed / ring_speed(layout.tensor, 1, cluster, speeds)
    else:
        seconds = reduction_seconds(volume, layout.tensor, 1, cluster, speeds)
    gathered = sum(
        count * _gathered_width(layer)
        for layer, count in layers_of_stage(job, layout.pipeline, stage)
    )
    moved = gathered * volume / job.shape.hidden * (1 - 1 / layout.tensor)
    gathering = moved / ring_speed(layout.tensor, 1, cluster, speeds)
    return number * (exposed * seconds + layout.tensor * speeds.hop_seconds) + gathering


def _divided_blocks(layer: Layer) -> int:
    """Blocks that end in a sum over the tensor ranks: attention, and what follows it."""
    divides_attention = layer.has_attention and "attention weights" not in layer.whole
    return divides_attention + layer.has_feed_forward


def _gathered_width(layer: Layer) -> float:
    """Elements per token that ranks gather, forward and backward, where a plan leaves parts whole.

    What a divided product gives is gathered; the gradient of what the next one reads is summed,
    which passes twice as much (DeepSpeed, ScatterToTensorParallelRegion).
    """
    attention, block = layer.attention, layer.feed_forward
    width = 0.0
    if "attention" in layer.whole and "attention weights" not in layer.whole:
        width += attention.query_size + attention.key_size + attention.value_size
        width += 2 * attention.output_size
    if "feed-forward" in layer.whole and not isinstance(block, Experts):
        width += (2 if block.gated else 1) * block.width + 2 * block.width
    return width


def _only_routes(layer: Layer) -> bool:
    """All that follows attention are experts that tokens are sent to."""
    return isinstance(layer.feed_forward, Experts) and layer.feed_forward.shared is None


def _sequence_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """All-to-alls of queries, keys, values and outputs (DeepSpeed Ulysses, arXiv 2309.14509).

    Ring attention passes keys and values to all other ranks instead, again in backward, and their
    gradients (arXiv 2310.01889).
    """
    layers = [
        (layer, count)
        for layer, count in layers_of_stage(job, layout.pipeline, stage)
        if layer.has_attention
    ]
    if not layers:
        return 0.0
    attention = layers[0][0].attention
    num_layers = sum(count for _, count in layers)
    passes = num_layers * (2 + layout.share_recomputed)
    width = _hidden_bytes(job, layout) / job.shape.hidden / layout.tensor
    whole = attention.query_size + attention.output_size
    keys = attention.key_size + attention.value_size
    if job.style.kernels.repeats_keys:
        keys = whole
    if job.style.kernels.passes == "heads":
        volume = width * (whole + keys)
        return passes * exchange_seconds(volume, layout.sequence, layout.tensor, cluster, speeds)
    passes += num_layers
    speed = ring_speed(layout.sequence, layout.tensor, cluster, speeds)
    return passes * (layout.sequence - 1) * width * keys / speed


def _expert_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """Tokens to their experts and back, forward and backward, and again for what is recomputed."""
    copies = sum(
        count * layer.feed_forward.top_k
        for layer, count in layers_of_stage(job, layout.pipeline, stage)
        if isinstance(layer.feed_forward, Experts)
    )
    volume = copies * _hidden_bytes(job, layout) / layout.tensor
    passes = 4 + 2 * layout.share_recomputed
    if not job.style.kernels.sends_once:
        return passes * exchange_seconds(volume, layout.expert, 1, cluster, speeds)
    exposed = 1.0
    if job.style.kernels.hides_exchange:
        exposed = OVERLAPPED_EXPOSED + (1 - OVERLAPPED_EXPOSED) * speeds.interference
    return passes * volume * exposed * _sending_cost(job, layout, cluster, speeds)


def _hidden_bytes(job: Job, layout: Layout) -> float:
    """The residual stream of one micro batch."""
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    return job.style.compute_bytes * tokens * job.shape.hidden


def _num_layers(job: Job, layout: Layout, stage: int) -> int:
    return sum(count for _, count in layers_of_stage(job, layout.pipeline, stage))


def _sending_cost(job: Job, layout: Layout, cluster: Cluster, speeds: Speeds) -> float:
    """Seconds per byte of token copies where each place gets a token once, whatever its experts.

    A token goes once to each node that has experts for it, and on to each rank; both at a time.
    """
    within = (cluster.accelerator.link_bandwidth or 1.0) * speeds.link
    nodes = layout.expert / cluster.devices_per_node
    top_k = max(getattr(layer.feed_forward, "top_k", 1) for layer, _ in job.shape.stack.layers)
    near = _copies(layout.expert, top_k) / top_k / within
    if nodes <= 1:
        return near
    far = _copies(nodes, top_k) / top_k / (cluster.inter_bandwidth * DEEPEP_SHARE)
    return max(near, far)


def _copies(places: float, top_k: int) -> float:
    """Of a token, to other places than its own, when its experts are anywhere alike."""
    return (places - 1) * (1 - (1 - 1 / places) ** top_k)


def boundary_seconds(job: Job, layout: Layout, cluster: Cluster, speeds: Speeds) -> float:
    """Per micro batch: a stage's output to the next and the gradient back."""
    if layout.pipeline == 1:
        return 0.0
    # Each tensor rank sends its part, which the next stage's ranks gather (arXiv 2104.04473).
    volume = _hidden_bytes(job, layout) / layout.tensor
    speed = cluster.inter_bandwidth * speeds.network
    if layout.num_devices <= cluster.devices_per_node:
        speed = (cluster.accelerator.link_bandwidth or 0.0) * speeds.link
    return 2 * layout.virtual_stages * volume / speed


def gathering_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """Per micro batch under ZeRO-3: weights are gathered twice and gradients scattered.

    3Ψ in all (arXiv 1910.02054, section 7), less what is not trained; modules that are computed
    again are gathered once more.
    """
    ranks = layout.shards
    if layout.zero < 3 or ranks == 1:
        return 0.0
    part = stage_parameters(job, layout.tensor, layout.pipeline, stage)
    byte = job.style.compute_bytes
    weights = part.dense + part.experts / layout.expert
    trained = part.trained_dense + part.trained_experts / layout.expert
    by_modules = job.style.kernels.gathers == "modules"
    gathers = 2 + (layout.share_checkpointed if by_modules else 0.0)
    volume = (gathers * byte * weights + byte * trained) * (1 - 1 / ranks)
    speed = ring_speed(ranks, layout.tensor, cluster, speeds)
    messages = 3 * _num_layers(job, layout, stage)
    return volume / speed + messages * ranks * speeds.hop_seconds


def gradient_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """Per optimizer step: gradients are reduced over the replicas, weights spread again (2Ψ)."""
    replicas = layout.data * layout.sequence
    ranks = replicas // layout.shards if layout.zero == 3 else replicas
    if ranks == 1:
        return 0.0
    part = stage_parameters(job, layout.tensor, layout.pipeline, stage)
    # Experts have as many fewer copies as there are ranks that share them out.
    alike = max(1, ranks * layout.tensor // layout.expert)
    experts = part.trained_experts / layout.expert * (1 - 1 / alike) / (1 - 1 / ranks)
    trained = part.trained_dense + experts
    if layout.zero == 3:
        trained /= layout.shards
    apart = layout.tensor * (layout.shards if layout.zero == 3 else 1)
    gradients = job.style.gradient_bytes * trained
    hops = (layout.zero_group or ranks) if layout.zero != 3 else ranks
    waiting = 2 * max(1.0, gradients / BUCKET_BYTES) * hops * speeds.hop_seconds
    if layout.zero in {0, 3}:
        return reduction_seconds(gradients, ranks, apart, cluster, speeds) + waiting
    volume = gradients + job.style.compute_bytes * trained
    if layout.zero == 2 and job.style.sharded_weights == "zero":
        # What other ranks own is not kept, so it leaves with every micro batch.
        volume += (layout.gradient_accumulation - 1) * gradients
    passed = volume * (1 - 1 / ranks)
    return passed / ring_speed(ranks, apart, cluster, speeds) + waiting

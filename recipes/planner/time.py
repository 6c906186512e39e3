"""Seconds of one optimizer step, by what takes them."""

from functools import lru_cache
from typing import NamedTuple

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.stages import layers_of_stage, stage_activations, stage_parameters

MATMUL_TOKENS = 500.0
"""Tokens at which a product runs at half its ceiling."""
ATTENTION_SHARE = 0.55
"""Fused attention relative to the matmul ceiling."""
TRAFFIC = 3.0
"""Bytes moved forward for each byte that is kept."""
MEMORY_SHARE = 0.8
LINK_SHARE = 0.65
NETWORK_SHARE = 0.9
OVERLAP = 0.8
SECONDS_PER_KERNEL = 12e-6


class StepTime(NamedTuple):
    """Seconds of one optimizer step, by component; they add up to `seconds`."""

    seconds: float
    matmul: float
    attention: float
    elementwise: float
    recompute: float
    launch: float
    tensor: float
    data: float
    bubble: float
    optimizer: float
    offload: float
    tokens_per_second_per_device: float
    model_flops: float
    hardware_flops: float
    mfu: float
    hfu: float

    @property
    def components(self) -> dict[str, float]:
        """Seconds by what takes them."""
        return dict(list(self._asdict().items())[1:11])


@lru_cache(maxsize=256)
def flops_per_token(job: Job) -> tuple[float, float, float]:
    """Forward FLOPs of a token: products of the layers, attention, output projection."""
    shape = job.shape
    matmul = attention = 0.0
    length = job.sample_length or job.sequence_length
    for layer, count in shape.stack.layers:
        matmul += count * 2.0 * layer.num_matmul_parameters
        seen = min(length, layer.attention.window or length)
        widths = layer.attention.query_size + layer.attention.output_size
        attention += count * widths * seen
    head = 2.0 * shape.hidden * shape.vocab_size * job.logit_share
    return matmul, attention, head


def plan_time(  # noqa: PLR0915
    job: Job, layout: Layout, cluster: Cluster, dtype: str = "bfloat16"
) -> StepTime:
    """The time of one optimizer step of the slowest pipeline stage, bubble included."""
    device, style, method = cluster.accelerator, job.style, job.method
    tensor, pipeline = layout.tensor, layout.pipeline
    ceiling = (device.matmul_tflops(dtype) or 0.0) * 1e12
    bandwidth = (device.memory_bandwidth or 0.0) * MEMORY_SHARE
    within = (device.link_bandwidth or 0.0) * LINK_SHARE
    between = cluster.inter_bandwidth * NETWORK_SHARE
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    rounds = layout.gradient_accumulation
    matmul, attention, head = flops_per_token(job)
    share = 1.0 / (tensor * pipeline)
    backward = 2.0 if method.type in {"full", "freeze"} else 1.1
    again = {"none": 0.0, "selective": 0.5, "full": 1.0}[layout.checkpointing]
    rate = ceiling * tokens / (tokens + MATMUL_TOKENS)

    products = tokens * (matmul + head) * share * (1 + backward) / rate
    attended = tokens * attention * share * 3.5 / (ceiling * ATTENTION_SHARE)
    kept, _ = stage_activations(job, tensor, pipeline, 0, "none", layout.sequence_in_tensor)
    moved = kept * tokens * TRAFFIC * 2 / bandwidth
    recomputed = again * (
        tokens * matmul * share / rate
        + tokens
        * attention
        * share
        / (ceiling * ATTENTION_SHARE)
        * (layout.checkpointing == "full")
        + moved / 2
    )
    num_layers = job.shape.stack.num_layers / pipeline
    adapters = 8 * 7 if method.has_adapters else 0
    kernels = num_layers * (45 + adapters) * (3 + again)
    busy = products + attended + moved + recomputed
    launch = max(0.0, kernels * SECONDS_PER_KERNEL - busy)

    split = 0.0
    if tensor > 1:
        exchanged = 2.0 * tokens * job.shape.hidden * (tensor - 1) / tensor * 2
        split = num_layers * (4 + 2 * (layout.checkpointing == "full")) * exchanged / within
    if layout.sequence > 1:
        layer = layers_of_stage(job.shape, pipeline, 0)[0][0]
        widths = layer.attention.query_size * 2 + layer.attention.key_size * 2
        passes = 3 if layout.checkpointing == "full" else 2
        split += (
            num_layers * passes * 2.0 * tokens * widths / min(within, between * layout.sequence)
        )
    if layout.expert > 1:
        split += num_layers * 4 * 2.0 * tokens * job.shape.hidden / between
    per_micro_batch = busy + launch + split

    part = stage_parameters(job, tensor, pipeline, 0)
    ranks = layout.shards
    per_node = max(1, min(ranks, cluster.devices_per_node // tensor))
    speed = within if ranks <= per_node else min(within, between * per_node)
    data = 0.0
    trained = part.trained_dense + part.trained_experts / layout.expert
    weights = part.dense + part.experts / layout.expert
    part_of_ring = (ranks - 1) / ranks
    if layout.zero == 3 and ranks > 1:
        gathered = 2.0 * weights * (2 + (layout.checkpointing == "full") * 0)
        volume = (gathered + 2.0 * trained) * part_of_ring
        data = rounds * max(0.0, volume / speed - OVERLAP * per_micro_batch)
        data += rounds * 0.05 * volume / speed
    elif layout.data * layout.sequence > 1:
        volume = 2 * style.gradient_bytes * trained * part_of_ring
        data = max(0.0, volume / speed - OVERLAP * per_micro_batch * 0.6) + 0.05 * volume / speed
    bubble = per_micro_batch * (pipeline - 1) / layout.virtual_stages
    updated = trained / ranks if layout.zero else trained
    optimizer = updated * 30.0 / bandwidth
    offload = 0.0
    if layout.offload_optimizer != "none":
        lane = device.pcie_bandwidth or 1.0
        optimizer = updated * 30.0 / 20e9
        offload = updated * 4.0 / lane
        if layout.offload_weights != "none":
            offload += rounds * 2 * 2.0 * weights / ranks / lane
        if layout.offload_optimizer == "nvme":
            offload += updated * 24.0 / (cluster.disk_read or 2e9)
    seconds = rounds * per_micro_batch + bubble + data + optimizer + offload
    model_flops = 3 * rounds * tokens * (matmul + attention + head) * share
    hardware = model_flops * (3 + again) / 3
    peak = (device.peak_tflops(dtype) or float("inf")) * 1e12
    return StepTime(
        seconds,
        rounds * products,
        rounds * attended,
        rounds * moved,
        rounds * recomputed,
        rounds * launch,
        rounds * split,
        data,
        bubble,
        optimizer,
        offload,
        rounds * tokens / seconds / (tensor * pipeline),
        model_flops,
        hardware,
        model_flops / seconds / peak,
        hardware / seconds / peak,
    )

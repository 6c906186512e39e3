"""Seconds of one optimizer step, by what takes them."""

from functools import lru_cache
from typing import NamedTuple

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.communication import (
    boundary_seconds,
    gathering_seconds,
    gradient_seconds,
    split_seconds,
)
from fsft.recipes.planner.compute import compute_seconds, host_share
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.speeds import Speeds, fitted_speeds
from fsft.recipes.planner.stages import input_bytes, stage_parameters, stages_apart
from fsft.recipes.planner.work import num_tensors, stage_work

OPTIMIZER_BYTES = 30.0
"""Read and written for one weight: float32 weight and two moments, gradient, the bfloat16 copy."""
DISK_BYTES_PER_SECOND = 2e9
"""Where the disk's speed is not known."""


class StepTime(NamedTuple):
    """Seconds of one optimizer step, by component; they add up to `seconds`."""

    seconds: float
    matmul: float
    attention: float
    elementwise: float
    recompute: float
    launch: float
    split: float
    """Communication of tensor, sequence and expert parallelism, and of the pipeline."""
    data: float
    """Communication of data parallelism that computing does not hide."""
    bubble: float
    optimizer: float
    offload: float
    tokens_per_second_per_device: float
    model_flops: float
    """Of one device: forward and backward, causal attention, nothing computed again."""
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


def plan_time(job: Job, layout: Layout, cluster: Cluster, speeds: Speeds | None = None) -> StepTime:
    """The time of one optimizer step: micro batches of the slowest stage, and the bubble.

    The device's speed must be known (`cluster.has_known_speed`).
    """
    speeds = speeds or fitted_speeds()
    stage = _slowest_stage(job, layout)
    split = split_seconds(job, layout, stage, cluster, speeds)
    computing = compute_seconds(job, layout, stage, cluster.accelerator, speeds, split)
    split += boundary_seconds(job, layout, cluster, speeds)
    micro = computing.seconds + split
    rounds = layout.gradient_accumulation
    data = _exposed_seconds(job, layout, stage, cluster, speeds, computing.seconds)
    bubble = 0.0
    if layout.pipeline > 1:
        # A stage waits for all others once, of which most are like the first.
        other = compute_seconds(job, layout, 0, cluster.accelerator, speeds, split).seconds
        bubble = (other + split) * (layout.pipeline - 1) / layout.virtual_stages
    optimizer, offload = _update_seconds(job, layout, stage, cluster, speeds)
    offload += _inputs_seconds(job, layout, stage, cluster)
    optimizer += _accumulation_seconds(job, layout, stage, cluster, speeds)
    tensors = num_tensors(job, layout.pipeline, stage, layout.expert)
    optimizer += tensors * speeds.tensor_seconds * host_share(cluster.accelerator, speeds)
    seconds = rounds * micro + bubble + data + optimizer + offload

    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    share = 1.0 / (layout.tensor * layout.pipeline)
    matmul, attention, head = flops_per_token(job)
    # A frozen weight takes no gradient: half of backward falls away, but not that of attention.
    products = (2 if job.method.freezes else 3) * (matmul + head)
    model_flops = rounds * tokens * (products + 3 * attention) * share
    again = {"none": 0.0, "selective": 0.5 * matmul, "full": matmul + attention}
    again_flops = layout.share_checkpointed * again[layout.checkpointing]
    hardware = model_flops + rounds * tokens * again_flops * share
    peak = (cluster.accelerator.peak_tflops(job.style.dtype) or float("inf")) * 1e12
    return StepTime(
        seconds,
        rounds * computing.products,
        rounds * computing.attention,
        rounds * computing.elementwise,
        rounds * computing.recomputed,
        rounds * computing.waiting,
        rounds * split,
        data,
        bubble,
        optimizer,
        offload,
        rounds * tokens * share / seconds,
        model_flops,
        hardware,
        model_flops / seconds / peak,
        hardware / seconds / peak,
    )


@lru_cache(maxsize=4096)
def _slowest_stage_of(job: Job, pipeline: int) -> int:
    """The one with the most arithmetic; the last has the output projection besides its layers."""

    def products(stage: int) -> float:
        work = stage_work(job, 1, pipeline, stage, 1, False)
        return work.products + work.head

    return max(stages_apart(job, pipeline), key=products)


def _slowest_stage(job: Job, layout: Layout) -> int:
    return 0 if layout.pipeline == 1 else _slowest_stage_of(job, layout.pipeline)


def _exposed_seconds(
    job: Job,
    layout: Layout,
    stage: int,
    cluster: Cluster,
    speeds: Speeds,
    computing: float,
) -> float:
    """Communication of data parallelism in one step, as far as it is not hidden."""
    rounds = layout.gradient_accumulation
    gathering = gathering_seconds(job, layout, stage, cluster, speeds)
    by_modules = job.style.kernels.gathers == "modules"
    share = speeds.overlap_modules if by_modules else speeds.overlap
    hidden = min(gathering, share * computing)
    exposed = rounds * (gathering - hidden + speeds.interference * hidden)
    gradients = gradient_seconds(job, layout, stage, cluster, speeds)
    if gradients:
        # Backward of the last micro batch is two thirds of its time.
        window = speeds.overlap * computing * 2 / 3 if job.style.kernels.hides_gradients else 0.0
        hidden = min(gradients, window)
        exposed += gradients - hidden + speeds.interference * hidden
    return exposed


def _accumulation_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> float:
    """Gradients of each further micro batch are added to those before it."""
    part = stage_parameters(job, layout.tensor, layout.pipeline, stage)
    trained = part.trained_dense + part.trained_experts / layout.expert
    moved = trained * (job.style.compute_bytes + 2 * job.style.gradient_bytes)
    bandwidth = (cluster.accelerator.memory_bandwidth or 1.0) * speeds.memory
    return (layout.gradient_accumulation - 1) * moved / bandwidth


def _inputs_seconds(job: Job, layout: Layout, stage: int, cluster: Cluster) -> float:
    """Inputs of checkpointed layers go to the host and come back, while nothing is computed."""
    if layout.offload_activations == "none":
        return 0.0
    device = cluster.accelerator
    lane = device.pcie_bandwidth or device.memory_bandwidth or 1.0
    tokens = layout.gradient_accumulation * layout.micro_batch * job.sequence_length
    moved = input_bytes(job, layout, stage) * tokens / layout.sequence
    return 2 * moved / lane


def _update_seconds(
    job: Job, layout: Layout, stage: int, cluster: Cluster, speeds: Speeds
) -> tuple[float, float]:
    """The optimizer's update, and what offloading moves between device, host and disk."""
    part = stage_parameters(job, layout.tensor, layout.pipeline, stage)
    experts = part.trained_experts / layout.expert
    weights = part.dense + part.experts / layout.expert
    updated = part.trained_dense + experts
    if layout.zero:
        updated = part.trained_dense / layout.shards + experts / layout.expert_shards
    device = cluster.accelerator
    if layout.offload_optimizer == "none":
        return updated * OPTIMIZER_BYTES / ((device.memory_bandwidth or 1.0) * speeds.memory), 0.0
    optimizer = updated * cluster.devices_per_node * OPTIMIZER_BYTES / speeds.host_bandwidth
    lane = device.pcie_bandwidth or 1.0
    # Gradients go to the host and weights come back.
    offload = 2 * job.style.compute_bytes * updated / lane
    if layout.offload_weights != "none":
        passes = 2 + layout.share_recomputed
        byte = job.style.weight_bytes
        offload += layout.gradient_accumulation * passes * byte * weights / layout.shards / lane
    if layout.offload_optimizer == "nvme":
        moved = 2 * job.style.optimizer_bytes * updated * cluster.devices_per_node
        offload += moved / (cluster.disk_read or DISK_BYTES_PER_SECOND)
    return optimizer, offload

"""Seconds that one pipeline stage computes for a micro batch."""

from typing import NamedTuple

from fsft.recipes.hardware.accelerators import Accelerator
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.speeds import Speeds
from fsft.recipes.planner.work import KERNELS_PER_TURN, Work, stage_work

FLASH_BACKWARD = 2.9
"""Fused attention computes scores again: five products for the two of forward, at 63% of the peak
where forward reaches 73% (arXiv 2307.08691)."""
SCORES_BACKWARD = 1.3
"""Memory traffic of attention that materializes scores, relative to its forward."""
ATTENTION_SHARE = {
    # Published forward speed over the matmul ceiling, heads of 128 (arXiv 2307.08691, 2407.08608):
    # (Ampere and before, devices with float8 units).
    "flash": (0.50, 0.30),
    "flash-2": (0.84, 0.45),
    "cudnn": (0.84, 0.78),
    "scores": (0.60, 0.50),
}
FLASH_FLOPS = 355e12
"""FlashAttention's first two generations do not use the matrix units that came after Ampere: newer
devices are no faster with them than an H100 is (arXiv 2407.08608)."""
SHORT_SEQUENCE = 700.0
"""Tokens at which fused attention runs at half its speed (arXiv 2307.08691, figure 4)."""
DETERMINISTIC = 0.6
"""Speed of attention without atomic additions in its backward."""
BACKWARD_KERNELS = 1.6


class Computing(NamedTuple):
    """Seconds of one micro batch on one stage, forward and backward, by what takes them."""

    products: float
    attention: float
    elementwise: float
    recomputed: float
    waiting: float
    """The device waits for the host to launch kernels."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self)


class Rates(NamedTuple):
    """What a device reaches: FLOPs and bytes per second."""

    products: float
    """Of weights, in the type that they are computed in."""
    matmul: float
    attention: float
    """Of long sequences."""
    bandwidth: float


def compute_seconds(
    job: Job,
    layout: Layout,
    stage: int,
    device: Accelerator,
    speeds: Speeds,
    exchanging: float = 0.0,
) -> Computing:
    """Forward, what is computed again, and backward of one micro batch.

    `exchanging` are seconds that the device is busy with communication between the kernels.
    """
    work = stage_work(
        job,
        layout.tensor,
        layout.pipeline,
        stage,
        layout.expert,
        layout.sequence_in_tensor,
    )
    rates = _rates(work, job, device, speeds)
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    # A frozen weight takes no gradient: half of backward falls away.
    backward = 1.0 if job.method.freezes else 2.0
    forward = _forward_products(work, job, tokens, rates, speeds)
    adapters = 3 * tokens * work.adapters / rates.matmul
    head = tokens * (work.head * (1 + backward) / rates.matmul + work.loss / rates.bandwidth)
    attended, attended_back = _attention(work, job, tokens, rates)
    elementwise = tokens * work.elementwise / rates.bandwidth
    again = 0.0
    if layout.checkpointing == "full":
        again = layout.share_checkpointed * (forward + attended + elementwise)
    elif layout.checkpointing == "selective":
        again = layout.share_checkpointed * (forward / 2 + elementwise)
    products = forward * (1 + backward) + adapters + head
    attention, passed = attended + attended_back, 3 * elementwise
    busy = products + attention + passed + again + exchanging
    launching = _launching(work, job, layout, speeds) * host_share(device, speeds)
    return Computing(products, attention, passed, again, max(0.0, launching - busy))


def host_share(device: Accelerator, speeds: Speeds) -> float:
    """The host's time relative to that beside an A100: later devices stand in later machines."""
    return speeds.newer_host if "float8" in device.peaks else 1.0


def _rates(work: Work, job: Job, device: Accelerator, speeds: Speeds) -> Rates:
    kernels = job.style.kernels
    has_float8 = "float8" in device.peaks
    ceiling = (device.matmul_tflops(job.style.dtype) or 0.0) * 1e12
    matmul = ceiling * (speeds.sustained_float8 if has_float8 else speeds.sustained)
    gain = speeds.float8_gain if kernels.products == "float8" and has_float8 else 1.0
    kernel = "scores" if work.score_bytes else kernels.attention
    attention = ceiling * ATTENTION_SHARE[kernel][has_float8]
    if kernel.startswith("flash"):
        attention = min(attention, FLASH_FLOPS)
    bandwidth = (device.memory_bandwidth or 0.0) * speeds.memory
    return Rates(matmul * gain, matmul, attention * speeds.attention, bandwidth)


def _forward_products(work: Work, job: Job, tokens: float, rates: Rates, speeds: Speeds) -> float:
    """Arithmetic, the memory traffic that it does not hide, and writing out quantized weights."""
    moved = speeds.unhidden * (tokens * work.product_bytes + work.weight_bytes)
    moved += job.style.kernels.dequantized_bytes * work.quantized
    return tokens * work.products / rates.products + moved / rates.bandwidth


def _attention(work: Work, job: Job, tokens: float, rates: Rates) -> tuple[float, float]:
    """Seconds forward and backward."""
    if work.score_bytes:
        # Nothing is left out above the diagonal.
        products, scores = 2 * work.attention / rates.attention, work.score_bytes / rates.bandwidth
        return tokens * (products + scores), tokens * (2 * products + SCORES_BACKWARD * scores)
    length = job.sample_length or job.sequence_length
    forward = tokens * work.attention / rates.attention * (length + SHORT_SEQUENCE) / length
    slower = 1 / DETERMINISTIC if job.style.kernels.deterministic else 1.0
    return forward, FLASH_BACKWARD * forward * slower


def _launching(work: Work, job: Job, layout: Layout, speeds: Speeds) -> float:
    """Seconds that the host takes to launch everything."""
    again = layout.share_checkpointed
    kernels = work.kernels
    if layout.pipeline > 1:
        kernels += layout.virtual_stages * KERNELS_PER_TURN.get(job.style.kernels.host, 0)
    seconds = kernels * (1 + BACKWARD_KERNELS + again) * speeds.kernel_seconds
    if layout.zero == 3 and job.style.kernels.gathers == "modules":
        seconds += work.modules * (2 + again) * speeds.module_seconds
    return seconds

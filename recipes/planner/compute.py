"""Seconds that one pipeline stage computes for a micro batch."""

from typing import NamedTuple

from fsft.recipes.hardware.accelerators import Accelerator
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.speeds import Speeds
from fsft.recipes.planner.work import Work, stage_work

FLASH_BACKWARD = 2.5
"""Fused attention computes scores again: five products for the two of forward."""
SCORES_BACKWARD = 1.3
"""Memory traffic of attention that materializes scores, relative to its forward."""
ATTENTION_SHARE = {
    # Published forward and backward speed over the matmul ceiling, heads of 128 (arXiv 2307.08691,
    # 2407.08608): (Ampere and before, devices with float8 units).
    "flash": (0.45, 0.27),
    "flash-2": (0.76, 0.40),
    "cudnn": (0.75, 0.70),
    "scores": (0.60, 0.50),
}
FLASH_FLOPS = 320e12
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


def compute_seconds(
    job: Job, layout: Layout, stage: int, device: Accelerator, speeds: Speeds, dtype: str
) -> Computing:
    """Forward, what is computed again, and backward of one micro batch."""
    work = stage_work(
        job,
        layout.tensor,
        layout.pipeline,
        stage,
        layout.expert,
        layout.sequence_in_tensor,
    )
    kernels, method = job.style.kernels, job.method
    tokens = layout.micro_batch * job.sequence_length / layout.sequence
    has_float8 = "float8" in device.peaks
    ceiling = (device.matmul_tflops(dtype) or 0.0) * 1e12
    rate = ceiling * (speeds.sustained_float8 if has_float8 else speeds.sustained)
    gain = speeds.float8_gain if kernels.products == "float8" and has_float8 else 1.0
    bandwidth = (device.memory_bandwidth or 0.0) * speeds.memory

    # A frozen weight takes no gradient: half of backward falls away.
    backward = 1.0 if method.freezes else 2.0
    moved = tokens * work.product_bytes + work.weight_bytes
    forward = tokens * work.products / (rate * gain) + speeds.unhidden * moved / bandwidth
    adapters = 3 * tokens * work.adapters / rate
    head = tokens * work.head * (1 + backward) / rate + tokens * work.loss / bandwidth
    written = kernels.dequantized_bytes * work.quantized / bandwidth
    forward += written
    attended, attended_again = _attention(work, job, tokens, has_float8, ceiling, bandwidth, speeds)
    elementwise = tokens * work.elementwise / bandwidth

    again = 0.0
    if layout.checkpointing == "full":
        again = forward + attended + elementwise
    elif layout.checkpointing == "selective":
        again = forward / 2 + elementwise
    busy_products = forward * (1 + backward) + adapters + head
    busy_attention = attended + attended_again
    busy_elementwise = 3 * elementwise
    busy = busy_products + busy_attention + busy_elementwise + again
    passes = 1 + BACKWARD_KERNELS + (layout.checkpointing != "none")
    launching = work.kernels * passes * speeds.kernel_seconds
    if layout.zero == 3 and kernels.gathers == "modules":
        passes = 2 + (layout.checkpointing != "none")
        launching += work.modules * passes * speeds.module_seconds
    return Computing(
        busy_products, busy_attention, busy_elementwise, again, max(0.0, launching - busy)
    )


def _attention(
    work: Work,
    job: Job,
    tokens: float,
    has_float8: bool,
    ceiling: float,
    bandwidth: float,
    speeds: Speeds,
) -> tuple[float, float]:
    """Seconds forward and backward."""
    kernels = job.style.kernels
    reached = ceiling * ATTENTION_SHARE[kernels.attention][has_float8]
    if kernels.attention.startswith("flash"):
        reached = min(reached, FLASH_FLOPS)
    rate = reached * speeds.attention
    if kernels.attention == "scores":
        # Nothing is left out above the diagonal.
        forward = tokens * (2 * work.attention / rate + work.score_bytes / bandwidth)
        scores = SCORES_BACKWARD * work.score_bytes / bandwidth
        return forward, tokens * (4 * work.attention / rate + scores)
    length = job.sample_length or job.sequence_length
    rate *= length / (length + SHORT_SEQUENCE)
    forward = tokens * work.attention / rate
    slower = 1 / DETERMINISTIC if kernels.deterministic else 1.0
    return forward, FLASH_BACKWARD * forward * slower

"""What one pipeline stage has to compute for a token: arithmetic, memory traffic, kernels."""

from dataclasses import dataclass
from functools import lru_cache

from fsft.recipes.models.shape import Attention, Experts, Layer, Linear, Norm
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.method import Method
from fsft.recipes.planner.stages import SUMMED, layers_of_stage
from fsft.recipes.planner.style import Style

KERNELS_PER_LAYER = {"eager": 70, "fused": 85, "compiled": 20, "megatron-core": 250}
"""The host's time for the forward of one layer, in launches of plain PyTorch.

Steps of models too small to keep a device busy show it. fused: 3.2 ms for forward, recomputation
and backward, whatever the degree of tensor parallelism (288 runs with 1,024 tokens and 1,024
elements, vTrain@f8dda84 data/ground_truth_single.csv). megatron-core: 7.0 ms for forward and
backward beside A100s, 4.7 ms beside H100s (gpt3_mcore_* of Megatron-LM@d98e8a6
tests/functional_tests, golden values)."""
KERNELS_PER_LATENT = {"eager": 40, "fused": 40, "compiled": 10, "megatron-core": 200}
"""The same of what latent attention launches more than other attention: one of the same tests,
gpt3_mcore_te_tp2_pp2_mla; eager as a dispatch mode counts it in transformers 5.23."""
KERNELS_PER_MIXTURE = {"eager": 40, "fused": 40, "compiled": 40, "megatron-core": 200}
"""The same of experts and their router: tests with 4 and 8 of them, where a layer takes 11 ms
beside A100s and 7.6 ms beside H100s; eager as counted in transformers 5.23, whose experts are one
grouped product."""
KERNELS_PER_TURN = {"megatron-core": 100}
"""The same of what a chunk of a pipeline stage sends and receives for one micro batch: in the same
tests three chunks a stage are as slow as one. DeepSpeed's pipelines show nothing of it (vTrain)."""
KERNELS_PER_ADAPTER = 10
TILE = 64.0
MODULES_PER_LAYER = 12
SCORE_BYTES = 13.0
"""Forward traffic of a score in two bytes: written, scaled and masked in a softmax, dropped out,
read."""
LOGIT_PASSES = 2.5
"""How often the loss goes over what it keeps."""


@dataclass(slots=True)
class Work:
    """Forward work of one rank of a stage; FLOPs and bytes are per token unless they say so."""

    products: float = 0.0
    """FLOPs of matrix products with weights."""
    adapters: float = 0.0
    """FLOPs of products with adapters."""
    product_bytes: float = 0.0
    weight_bytes: float = 0.0
    """Bytes per micro batch: every weight is read once."""
    quantized: float = 0.0
    """Weights that are written out before they are used."""
    attention: float = 0.0
    """FLOPs of causal attention."""
    score_bytes: float = 0.0
    elementwise: float = 0.0
    """Bytes read and written by everything else."""
    loss: float = 0.0
    """Bytes that the loss moves, forward and backward."""
    head: float = 0.0
    """FLOPs of the output projection."""
    kernels: float = 0.0
    """Launches per micro batch."""
    modules: float = 0.0
    layers: float = 0.0


@lru_cache(maxsize=4096)
def stage_work(job: Job, tensor: int, pipeline: int, stage: int, expert: int, split: bool) -> Work:
    """The forward of one stage on one of `tensor` ranks.

    `split` divides norms over the tensor ranks too; experts are spread over `expert` ranks.
    """
    shape, style = job.shape, job.style
    work = Work()
    for layer, count in layers_of_stage(job, pipeline, stage):
        _add_layer(work, job, layer, count, tensor, expert, split)
    if stage == 0 and shape.encoder:
        for layer, count in shape.encoder.layers:
            _add_layer(work, job, layer, count, tensor, expert, split)
    if stage == 0 and shape.vision and job.num_patches:
        share = job.num_patches / job.sequence_length
        for layer, count in shape.vision.stack.layers:
            _add_layer(work, job, layer, count, tensor, 1, split, share, job.num_patches)
    if stage == pipeline - 1:
        work.head = 2.0 * shape.hidden * shape.vocab_size * job.logit_share / tensor
        vocabulary = shape.vocab_size / (tensor if style.vocabulary_parallel else 1)
        moved = style.kernels.loss_bytes or LOGIT_PASSES * style.logit_bytes
        work.loss = moved * vocabulary * job.logit_share
    return work


def _add_layer(
    work: Work,
    job: Job,
    layer: Layer,
    count: int,
    tensor: int,
    expert: int,
    split: bool,
    share: float = 1.0,
    patches: int = 0,
) -> None:
    """Add `count` such layers, which see `share` tokens for each token of the sequence.

    They are those of a vision tower where there are `patches`.
    """
    style, method = job.style, job.method
    byte = style.compute_bytes
    attention, block = layer.attention, layer.feed_forward
    linears = list(attention.linears)
    if layer.cross_attention:
        linears += layer.cross_attention.linears
    ranks = 1 if "attention weights" in layer.whole else tensor
    copies: list[tuple[Linear, float, float, int]] = [(part, 1.0, 1.0, ranks) for part in linears]
    if isinstance(block, Experts):
        # Tensor ranks divide the tokens of an expert, not its matrices.
        local, routed = block.num_experts / max(1, expert), block.top_k / tensor
        shared = block.shared.linears if block.shared else ()
        copies += [(part, routed, local, 1) for part in block.expert.linears]
        copies += [(part, 1.0, 1.0, tensor) for part in shared]
    else:
        copies += [(part, 1.0, 1.0, tensor) for part in block.linears]
    joined = style.kernels.joined
    for linear, tokens, weights, parts in copies:
        size = linear.inputs * linear.outputs / parts
        work.products += count * share * tokens * 2.0 * size / _fullness(linear, parts)
        moved = tokens * sum(_widths(linear, parts))
        work.product_bytes += count * share * byte * moved
        work.weight_bytes += count * weights * byte * size
        if method.type == "qlora":
            work.quantized += count * weights * size
            if linear.name not in joined:
                work.kernels += count * style.kernels.dequantizing_kernels
        if method.adapts(linear):
            rank = 2.0 * method.rank * (linear.inputs + linear.outputs)
            work.adapters += count * share * tokens * rank / parts
            if linear.name not in joined:
                work.kernels += count * KERNELS_PER_ADAPTER
            moved = _adapter_traffic(linear, method, byte)
            work.elementwise += count * share * tokens * moved / parts
    ranks = 1 if "attention" in layer.whole else tensor
    _add_attention(work, job, attention, count * share, ranks, patches)
    moved = _layer_traffic(layer, style, tensor, split)
    work.elementwise += count * share * moved
    work.kernels += count * _launches(layer, style)
    size = 0.5 if layer.is_half else 1.0
    work.modules += count * size * MODULES_PER_LAYER
    work.layers += count * size


@lru_cache(maxsize=4096)
def num_tensors(job: Job, pipeline: int, stage: int, expert: int) -> float:
    """Tensors of trained weights that the optimizer of one rank of a stage treats by themselves."""
    found = 0.0
    for layer, count in layers_of_stage(job, pipeline, stage):
        found += count * (1 if job.style.kernels.flat_states else _tensors_of(layer, job, expert))
    if stage == 0 and job.shape.vision and not job.method.freezes:
        for layer, count in job.shape.vision.stack.layers:
            found += count * (1 if job.style.kernels.flat_states else _tensors_of(layer, job, 1))
    return found


def _tensors_of(layer: Layer, job: Job, expert: int) -> float:
    block = layer.feed_forward
    linears = list(layer.attention.linears)
    if isinstance(block, Experts):
        linears += block.shared.linears if block.shared else ()
        linears += block.expert.linears * max(1, block.num_experts // expert)
    else:
        linears += block.linears
    linears = [linear for linear in linears if linear.name not in job.style.kernels.joined]
    if job.method.freezes:
        return 2.0 * sum(job.method.adapts(linear) for linear in linears)
    norms = (*layer.norms, *layer.attention.norms)
    biases = sum(linear.bias for linear in linears) + sum(norm.bias for norm in norms)
    return float(len(linears) + len(norms) + biases)


def _launches(layer: Layer, style: Style) -> float:
    modules = style.kernels.host
    launches = KERNELS_PER_LAYER[modules] * (0.5 if layer.is_half else 1.0)
    if layer.attention.latent:
        launches += KERNELS_PER_LATENT[modules]
    if isinstance(layer.feed_forward, Experts):
        launches += KERNELS_PER_MIXTURE[modules]
    return launches


def _fullness(linear: Linear, tensor: int) -> float:
    """Speed of a product relative to one that is large in all directions.

    Edges and starts of the tiles that kernels work in cost as much as `TILE` more elements.
    """
    inputs, outputs = _widths(linear, tensor)
    return inputs / (inputs + TILE) * outputs / (outputs + TILE)


def _widths(linear: Linear, tensor: int) -> tuple[float, float]:
    """Inputs and outputs of what one of `tensor` ranks computes (arXiv 1909.08053, section 3)."""
    if linear.name in SUMMED:
        return linear.inputs / tensor, float(linear.outputs)
    return float(linear.inputs), linear.outputs / tensor


def _add_attention(
    work: Work, job: Job, attention: Attention, layers: float, tensor: int, patches: int
) -> None:
    length = patches or job.sample_length or job.sequence_length
    seen = min(length, attention.window or length)
    # Every patch sees all others, a token half of them.
    widths = (attention.query_size + attention.output_size) * (2 if patches else 1)
    work.attention += layers * widths * seen / tensor
    if job.style.kernels.attention == "scores" or attention.score_bytes:
        work.score_bytes += layers * SCORE_BYTES * attention.num_heads * length / tensor


def _layer_traffic(layer: Layer, style: Style, tensor: int, split: bool) -> float:
    """Bytes that all but products and fused attention read and write for one token, forward."""
    byte = style.compute_bytes
    block, attention = layer.feed_forward, layer.attention
    hidden = attention.hidden
    replicated = sum(_norm_traffic(norm, style) for norm in layer.norms)
    # Two residual additions; dropouts keep a mask, and read and write where they are not fused.
    fused = style.kernels.elementwise != "eager"
    replicated += 2 * 3 * byte * hidden
    if layer.dropout:
        replicated += 2 * (1 if fused else 2 * byte + 1) * hidden
    inner = 0.0
    if attention.rotary:
        # Two products, the turned half and a sum; one pass where it is fused.
        passes = 2 if fused else 11
        inner += passes * byte * (attention.query_size + attention.key_size)
    if "attention" in layer.whole:
        inner *= tensor
    if isinstance(block, Experts):
        width = block.expert.width * block.top_k
        width += block.shared.width if block.shared else 0
        # Tokens are copied to their experts, weighted and added up again.
        inner += 8 * byte * block.top_k * hidden
        gated = block.expert.gated
    else:
        width, gated = block.width, block.gated
    # The activation reads and writes; a gate is another product of two tensors.
    share = tensor if "feed-forward" in layer.whole else 1
    inner += share * ((3 if fused else 5) if gated else 2) * byte * width
    return replicated / (tensor if split else 1) + inner / tensor


def _adapter_traffic(linear: Linear, method: Method, byte: float) -> float:
    """The input is cast and dropped out, the output added to that of the frozen weight."""
    kept = method.adapter_bytes
    moved = (byte + kept if kept != byte else 0.0) + (2 * kept + 1 if method.dropout else 0.0)
    return moved * linear.inputs + 3 * byte * linear.outputs


def _norm_traffic(norm: Norm, style: Style) -> float:
    byte = style.compute_bytes
    if norm.kind == "layer" or style.norm == "fused" or style.kernels.elementwise != "eager":
        return 2 * byte * norm.width
    # To float32, squares, mean, product, back, times the weight.
    return (byte + 4 + 8 + 4 + 8 + 4 + byte + 2 * byte) * norm.width

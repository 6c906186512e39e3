"""Jobs and layouts for tests, fixed ones and hypothesis strategies."""

from hypothesis import strategies as st

from fsft.recipes.models.shape import (
    Attention,
    Experts,
    FeedForward,
    Layer,
    Linear,
    ModelShape,
    Norm,
    Stack,
)
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.method import Method


def llama_like(
    *,
    hidden: int = 4096,
    layers: int = 32,
    heads: int = 32,
    kv_heads: int = 8,
    width: int = 14336,
    vocabulary: int = 128256,
    experts: int = 0,
    tied: bool = False,
) -> ModelShape:
    """A decoder with grouped queries and SwiGLU; with `experts`, a mixture of top 2."""
    head = hidden // heads
    attention = Attention(
        hidden,
        heads,
        kv_heads,
        head,
        linears=(
            Linear("q", hidden, hidden),
            Linear("k", hidden, kv_heads * head),
            Linear("v", hidden, kv_heads * head),
            Linear("o", hidden, hidden),
        ),
    )
    block: FeedForward | Experts = FeedForward(hidden, width)
    if experts:
        block = Experts(FeedForward(hidden, width), experts, 2, hidden * experts)
    norm = Norm(hidden)
    return ModelShape(
        architecture="llama",
        hidden=hidden,
        vocab_size=vocabulary,
        stack=Stack(((Layer(attention, block, (norm, norm)), layers),)),
        final_norms=(norm,),
        tied=tied,
        max_positions=131072,
        splits=frozenset({"tensor", "pipeline", "expert"} if experts else {"tensor", "pipeline"}),
    )


def job(shape: ModelShape | None = None, length: int = 4096, **rest: object) -> Job:
    """A full fine-tuning of an 8B model, or of `shape`."""
    return Job(shape or llama_like(), length, **rest)  # type: ignore[arg-type]


POWERS = st.sampled_from([1, 2, 4, 8, 16])
METHODS = st.sampled_from(
    [
        Method(),
        Method("lora"),
        Method("qlora", quantization="nf4-dq"),
        Method("freeze"),
        Method("prompt"),
    ]
)
SHAPES = st.builds(
    lambda heads, layers, experts, tied: llama_like(
        hidden=128 * heads,
        heads=heads,
        kv_heads=heads // 4,
        layers=layers,
        width=256 * heads,
        vocabulary=32000,
        experts=experts,
        tied=tied,
    ),
    st.sampled_from([16, 32, 64]),
    st.integers(16, 64),
    st.sampled_from([0, 8]),
    st.booleans(),
)
JOBS = st.builds(Job, SHAPES, st.sampled_from([512, 2048, 8192]), METHODS)
LAYOUTS = st.builds(
    lambda zero, data, tensor, pipeline, micro_batch, accumulation, checkpointing, every: Layout(
        zero=1 if pipeline > 1 else zero,
        data=data,
        tensor=tensor,
        pipeline=pipeline,
        micro_batch=micro_batch,
        gradient_accumulation=accumulation,
        checkpointing=checkpointing,
        checkpointed_every=every,
    ),
    st.integers(0, 3),
    POWERS,
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    POWERS,
    st.sampled_from(["none", "selective", "full"]),
    st.sampled_from([1, 2, 3]),
)

"""The layouts that train as one process does, and what each is tried on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

GLOBAL_BATCH = 8


@dataclass(frozen=True)
class Layout:
    """Processes and what each holds; its rows a step are those of every other."""

    zero: int
    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    sequence: int = 1
    expert: int = 1
    micro_batch: int = 2
    halves: tuple[int, ...] = ()
    """Of layers, in each stage; none where stages are made of whole layers."""

    @property
    def num_processes(self) -> int:
        """Of all replicas together."""
        return self.data * self.tensor * self.pipeline * self.sequence

    @property
    def name(self) -> str:
        """As in "ZeRO 1, TP 2, DP 2"."""
        degrees = {
            "TP": self.tensor,
            "PP": self.pipeline,
            "SP": self.sequence,
            "EP": self.expert,
            "DP": self.data,
        }
        parts = [f"{short} {degree}" for short, degree in degrees.items() if degree > 1]
        if self.halves:
            parts.append(f"{' + '.join(map(str, self.halves))} half layers")
        return ", ".join([f"ZeRO {self.zero}", *parts])

    @property
    def overrides(self) -> tuple[str, ...]:
        """The layout as overrides of a recipe."""
        return (
            f"parallel.zero={self.zero}",
            f"parallel.micro_batch={self.micro_batch}",
            f"parallel.gradient_accumulation={GLOBAL_BATCH // self.micro_batch // self.data}",
            f"parallel.tensor={self.tensor}",
            f"parallel.pipeline={self.pipeline}",
            f"parallel.sequence={self.sequence}",
            f"parallel.expert={self.expert}",
            *self._halves,
            f"hardware.devices_per_node={self.num_processes}",
        )

    @property
    def _halves(self) -> tuple[str, ...]:
        if not self.halves:
            return ()
        split = f"parallel.pipeline_split={list(self.halves)}"
        return ('parallel.pipeline_units="halves"', split)


ALONE = Layout(zero=0, micro_batch=4)
"""One process."""

LAYOUTS = (
    Layout(1),
    *(Layout(zero, data=2) for zero in range(4)),
    *(Layout(zero, data=4) for zero in range(4)),
    *(Layout(zero, sequence=2) for zero in range(4)),
    *(Layout(zero, sequence=2, data=2) for zero in range(4)),
    *(Layout(zero, tensor=2) for zero in range(4)),
    *(Layout(zero, tensor=2, data=2) for zero in range(4)),
    *(Layout(zero, tensor=2, sequence=2) for zero in range(4)),
    Layout(0, sequence=4),
    Layout(3, sequence=4),
    Layout(1, pipeline=2),
    Layout(1, pipeline=2, data=2),
    Layout(1, pipeline=2, sequence=2),
    Layout(1, pipeline=2, tensor=2),
    Layout(1, pipeline=2, tensor=2, sequence=2),
    Layout(1, pipeline=2, halves=(1, 3)),
    Layout(1, pipeline=4, halves=(1, 1, 1, 1)),
    Layout(1, pipeline=2, tensor=2, halves=(3, 1)),
    Layout(1, pipeline=2, sequence=2, halves=(3, 1)),
    Layout(1, pipeline=2, data=2, halves=(1, 3)),
    *(Layout(zero, data=2, expert=2) for zero in range(3)),
    *(Layout(zero, data=4, expert=2) for zero in range(3)),
    Layout(1, data=4, expert=4),
    *(Layout(zero, sequence=2, expert=2) for zero in range(3)),
    Layout(1, sequence=2, data=2, expert=2),
)

MODELS: dict[str, tuple[str, ...]] = {
    "llama": (),
    "qwen2": ('model.config.model_type="qwen2"',),
    "qwen2_moe": (
        'model.config.model_type="qwen2_moe"',
        "model.config.num_experts=4",
        "model.config.num_experts_per_tok=2",
        "model.config.moe_intermediate_size=32",
        "model.config.shared_expert_intermediate_size=32",
    ),
}
_ALL_HEADS = "model.config.num_key_value_heads=4"
GPT2 = (
    _ALL_HEADS,
    *(f"model.config.{place}_pdrop=0.0" for place in ("resid", "embd", "attn")),
)
# Of these two, samples of a packed row would see each other.
OPT = (
    _ALL_HEADS,
    "data.packing=false",
    "model.config.ffn_dim=64",
    "model.config.word_embed_proj_dim=32",
    "model.config.dropout=0.0",
)
BLOOM = (_ALL_HEADS, "data.packing=false", 'model.attention="eager"')
ROWS = {"packed": ("data.packing=true",), "padded": ("data.packing=false",)}
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Subject:
    """What is trained."""

    model: str
    rows: str
    dtype: str

    @property
    def name(self) -> str:
        """As in "llama, packed, float32"."""
        return f"{self.model}, {self.rows}, {self.dtype}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """The subject as overrides of a recipe; gradients are clipped in it."""
        dtype = f'model.dtype="{self.dtype}"'
        return (*MODELS[self.model], *ROWS[self.rows], dtype, "optimizer.clip=0.5")

    @property
    def alone(self) -> Layout:
        """One process that it is held against.

        In bfloat16 with the micro batches of the others, whose products are rounded alike.
        """
        return ALONE if self.dtype == "float32" else replace(ALONE, micro_batch=2)

    @property
    def rounds_routers(self) -> bool:
        """Where sums round otherwise, its routers choose other experts."""
        return "moe" in self.model and self.dtype == "bfloat16"


SUBJECTS = tuple(Subject(*each) for each in product(MODELS, ROWS, DTYPES))


def matrix() -> Iterator[tuple[Layout, Subject]]:
    """Every layout with everything that it can train."""
    for layout, subject in product(LAYOUTS, SUBJECTS):
        if layout.expert > 1 and "moe" not in subject.model:
            continue
        if subject.rounds_routers and layout.tensor * layout.sequence > 1:
            continue
        if layout.zero == 0 and layout.pipeline > 1:
            continue
        yield layout, subject

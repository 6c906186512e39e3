"""All layouts of a job on a cluster: which fit, how fast they are, and why others do not."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.fit import Fit, fits, why_not
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout, Offload
from fsft.recipes.planner.legal import offload_reasons, why_illegal, why_not_batch
from fsft.recipes.planner.memory import Memory, plan_memory
from fsft.recipes.planner.split import units_per_layer
from fsft.recipes.planner.time import StepTime, plan_time

TIME_STEP = 0.02
"""Times that are longer than the shortest by less than this share are equal to it."""
MARGIN_STEP = 0.1
CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
OFFLOADS: tuple[tuple[Offload, Offload], ...] = (
    ("none", "none"),
    ("cpu", "none"),
    ("cpu", "cpu"),
    ("nvme", "nvme"),
)
"""Where optimizer and weights go, from the fastest to the slowest."""
LARGEST_MICRO_BATCH = 64
LONG_SEQUENCE = 8192
"""Tokens from which sequence parallelism is worth looking at."""


class Rank(NamedTuple):
    """What decides between two layouts, one after the other; smaller is better."""

    doubt: int
    """1 where it may fit only."""
    pace: int
    """Steps of `TIME_STEP` behind the fastest; without a known speed what is sure to cost time."""
    offloaded: int
    """What leaves the device, and how far."""
    spare: int
    """The memory margin, negative."""
    complexity: int
    """Things that a reader of the layout has to understand."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layout that fits, or may."""

    layout: Layout
    memory: Memory
    time: StepTime | None
    """None where the speed of the devices is not known."""
    fits: Fit
    rank: Rank


@dataclass(frozen=True, slots=True)
class Rejected:
    """A layout that cannot be used, and why in one clause."""

    layout: Layout
    reason: str


@dataclass(frozen=True)
class Search:
    """All layouts of a job: those that fit, the best first, and the others."""

    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]

    @property
    def best(self) -> Candidate | None:
        """The recommendation; None where nothing fits."""
        return self.candidates[0] if self.candidates else None


_Found = tuple[Layout, Memory, StepTime | None, Fit]


def search(job: Job, cluster: Cluster, fixed: Mapping[str, Any] | None = None) -> Search:
    """Every legal layout of `job` on `cluster`, the best first.

    `fixed` holds fields of Layout that are decided already. A job without a global batch takes what
    the micro batch and the accumulation make of it.
    """
    chosen = dict(fixed or {})
    found: list[_Found] = []
    rejected: list[Rejected] = []
    offloads = _offloads(job, cluster, chosen)
    fitting: dict[Checkpointing, int] = {}
    for geometry in _geometries(job, cluster, chosen):
        if reason := why_illegal(job, geometry, cluster):
            rejected.append(Rejected(geometry, reason))
            continue
        for layout in _variants(geometry, offloads, chosen):
            _add_largest(job, layout, cluster, chosen, found, rejected, fitting)
    return Search(_ranked(found, cluster.accelerator.memory), tuple(rejected))


def _ranked(found: list[_Found], room: float) -> tuple[Candidate, ...]:
    """The best first; the fastest is looked for among those that surely fit."""
    # For a row of a step: not all steps have as many.
    sure = ((layout, time) for layout, _, time, answer in found if time and answer == "yes")
    fastest = min((time.seconds / layout.global_batch for layout, time in sure), default=1.0)
    places = get_args(Offload)
    candidates = []
    for layout, memory, time, answer in found:
        offloaded = places.index(layout.offload_optimizer) + places.index(layout.offload_weights)
        complexity = _complexity(layout)
        if time:
            seconds = time.seconds / layout.global_batch
            pace = math.floor(math.log(seconds / fastest) / TIME_STEP)
        else:
            degrees = (layout.tensor, layout.pipeline, layout.sequence, layout.expert)
            pace = 100 * offloaded + 10 * sum(degree > 1 for degree in degrees) + complexity
        margin = 1 - memory.device_total / room
        spare = -math.floor(margin / MARGIN_STEP)
        rank = Rank(int(answer != "yes"), pace, offloaded, spare, complexity)
        candidates.append(Candidate(layout, memory, time, answer, rank))
    candidates.sort(key=lambda candidate: candidate.rank)
    return tuple(candidates)


def _geometries(job: Job, cluster: Cluster, fixed: Mapping[str, Any]) -> Iterator[Layout]:
    """Ways to spread a model over all devices, with the ZeRO stages that go with each."""
    devices = cluster.num_devices
    longest = job.shape.stack.num_layers * units_per_layer(job.units)
    sequences = _choices(fixed, "sequence", (1, 2, 4, 8, 16))
    if job.sequence_length < LONG_SEQUENCE:
        sequences = sequences[:1]
    experts = _divisors(min(devices, 64)) if job.shape.is_mixture else (1,)
    pipelines = tuple(size for size in _divisors(devices) if size <= longest)
    for tensor in _choices(fixed, "tensor", _divisors(cluster.devices_per_node)):
        for pipeline in _choices(fixed, "pipeline", pipelines):
            for sequence in sequences:
                data, rest = divmod(devices, tensor * pipeline * sequence)
                if rest or data == 0:
                    continue
                for expert in _choices(fixed, "expert", experts):
                    if expert > 1 and tensor * pipeline > 1 and "expert" not in fixed:
                        continue
                    stages = (1,) if pipeline > 1 else (0, 1, 2, 3)
                    for zero in _choices(fixed, "zero", stages):
                        yield _with_batch(
                            job,
                            Layout(
                                zero=zero,
                                data=data,
                                tensor=tensor,
                                pipeline=pipeline,
                                sequence=sequence,
                                expert=expert,
                            ),
                            fixed.get("micro_batch", 1),
                            fixed,
                        )


def _offloads(
    job: Job, cluster: Cluster, fixed: Mapping[str, Any]
) -> tuple[tuple[Offload, Offload], ...]:
    """What may be offloaded where; the memory of a CPU is the host's already."""
    keys = ("offload_optimizer", "offload_weights")
    wanted = [fixed[key] for key in keys if key in fixed]
    if len(wanted) == len(keys):
        return (tuple(wanted),)
    is_cpu = cluster.accelerator.name == "cpu" and "cpu" not in wanted
    return tuple(
        pair
        for pair in OFFLOADS
        if all(fixed.get(key, where) == where for key, where in zip(keys, pair, strict=True))
        and (job.has_nvme or "nvme" not in pair)
        and not (is_cpu and "cpu" in pair)
    )


def _variants(
    geometry: Layout, offloads: tuple[tuple[Offload, Offload], ...], fixed: Mapping[str, Any]
) -> Iterator[Layout]:
    """A geometry with every checkpointing and offload that it allows."""
    for optimizer, weights in offloads:
        offloaded = geometry._replace(offload_optimizer=optimizer, offload_weights=weights)
        if any(offload_reasons(offloaded)):
            continue
        is_alone = geometry.shards == 1 and geometry.pipeline == 1
        if optimizer == "none" and geometry.zero and is_alone and "zero" not in fixed:
            # On one device ZeRO has nothing to divide; it serves offloading alone.
            continue
        for checkpointing in _choices(fixed, "checkpointing", CHECKPOINTING):
            is_kept = checkpointing == "none"
            yield geometry._replace(
                checkpointing=checkpointing,
                checkpointed_every=1 if is_kept else fixed.get("checkpointed_every", 1),
                offload_activations="none" if is_kept else fixed.get("offload_activations", "none"),
                offload_optimizer=optimizer,
                offload_weights=weights,
            )


def _add_largest(
    job: Job,
    layout: Layout,
    cluster: Cluster,
    fixed: Mapping[str, Any],
    found: list[_Found],
    rejected: list[Rejected],
    fitting: dict[Checkpointing, int],
) -> None:
    """Add the layout with the largest micro batch that fits, or the reason why even one does not.

    In a pipeline a smaller micro batch leaves less of the bubble, so the next one is added too.
    `fitting` holds the micro batch of the layout before, by checkpointing: this one's is near it.
    """
    looked: dict[int, tuple[Layout, Memory, Fit]] = {}

    def look(micro_batch: int) -> tuple[Layout, Memory, Fit]:
        if micro_batch not in looked:
            tried = _with_batch(job, layout, micro_batch, fixed)
            memory = plan_memory(job, tried)
            looked[micro_batch] = (tried, memory, fits(job, memory, cluster))
        return looked[micro_batch]

    sizes = tuple(_micro_batches(job, layout, fixed))
    if not sizes:
        rounds = fixed["gradient_accumulation"]
        reason = why_not_batch(job.global_batch or 1, None, rounds, layout.data)
        rejected.append(Rejected(layout, reason or ""))
        return
    near = fitting.get(layout.checkpointing)
    first = _first_that_fits(
        sizes, lambda size: look(size)[2] == "yes", sizes.index(near) if near in sizes else 0
    )
    fitting[layout.checkpointing] = sizes[min(first, len(sizes) - 1)]
    # Where none surely fits, the smallest says why, or may fit.
    shown = sizes[first : first + (1 if layout.pipeline == 1 else 2)] or sizes[-1:]
    for micro_batch in shown:
        tried, memory, answer = look(micro_batch)
        if answer == "no":
            rejected.append(Rejected(tried, why_not(job, memory, cluster)))
            continue
        time = plan_time(job, tried, cluster) if cluster.has_known_speed else None
        found.append((tried, memory, time, answer))


def _first_that_fits(sizes: Sequence[int], fits: Callable[[int], bool], guess: int) -> int:
    """The place of the largest that fits, looked for from `guess` on; that of the end if none does.

    Sizes fall, and a smaller micro batch never needs more memory.
    """
    place = guess
    while place < len(sizes) and not fits(sizes[place]):
        place += 1
    if place == guess:
        while place and fits(sizes[place - 1]):
            place -= 1
    return place


def _micro_batches(job: Job, layout: Layout, fixed: Mapping[str, Any]) -> Iterator[int]:
    """Powers of two that a replica can make its share of the global batch of, the largest first."""
    if "micro_batch" in fixed:
        yield fixed["micro_batch"]
        return
    share, rounds = _share(job, layout), fixed.get("gradient_accumulation")
    if rounds and job.global_batch:
        if share % rounds == 0:
            yield share // rounds
        return
    if rounds:
        # Any will do, for the global batch follows.
        share = LARGEST_MICRO_BATCH * layout.pipeline
    size = 1
    while size * 2 <= LARGEST_MICRO_BATCH and share % (size * 2) == 0:
        size *= 2
    while size:
        if layout.pipeline == 1 or share // size >= layout.pipeline:
            yield size
        size //= 2


def _with_batch(job: Job, layout: Layout, micro_batch: int, fixed: Mapping[str, Any]) -> Layout:
    rounds = max(1, _share(job, layout) // micro_batch)
    if job.global_batch is None:
        rounds = fixed.get("gradient_accumulation", 1)
    return layout._replace(
        micro_batch=micro_batch,
        gradient_accumulation=rounds,
        sequence_in_tensor=layout.tensor > 1 and job.style.splits_norms,
    )


def _share(job: Job, layout: Layout) -> int:
    """Rows of a global batch that one replica computes."""
    return (job.global_batch or layout.data) // layout.data


def _complexity(layout: Layout) -> int:
    """How many things a reader of the layout has to understand."""
    return (
        layout.zero
        + 2 * (layout.tensor > 1)
        + 3 * (layout.pipeline > 1)
        + 2 * (layout.sequence > 1)
        + 2 * (layout.expert > 1)
        + 2 * (layout.offload_optimizer != "none")
        + (layout.offload_weights != "none")
        + (layout.checkpointing != "none")
        + (layout.checkpointed_every > 1)
        + (layout.offload_activations != "none")
    )


def _choices(fixed: Mapping[str, Any], key: str, all_of_them: tuple[Any, ...]) -> tuple[Any, ...]:
    return (fixed[key],) if key in fixed else all_of_them


def _divisors(number: int) -> tuple[int, ...]:
    small = [size for size in range(1, math.isqrt(number) + 1) if number % size == 0]
    return tuple(sorted({*small, *(number // size for size in small)}))

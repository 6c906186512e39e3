"""The plan of a job on a cluster: what is recommended, what it costs, what else would do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.models.families import READERS
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.remedies import Remedy, find_remedies
from fsft.recipes.planner.search import Candidate, Search, search

SEQUENCES = 128
"""Sequences in a global batch where none is given; as many as devices, if those are more."""


@dataclass(frozen=True)
class Plan:
    """Everything that is known about a job on a cluster before it runs."""

    job: Job
    cluster: Cluster
    fixed: Mapping[str, Any]
    """What was decided before: fields of Layout."""
    search: Search
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...]
    batch_is_given: bool
    """The global batch is the question's, not an assumption."""

    @property
    def best(self) -> Candidate | None:
        """The recommendation; None where nothing fits."""
        return self.search.best

    @cached_property
    def remedies(self) -> tuple[Remedy, ...]:
        """What would make it fit, the cheapest first; empty where something fits.

        Searched for when first asked for, which takes many times as long as the plan.
        """
        if self.search.candidates:
            return ()
        job = self.job
        if not self.batch_is_given and _follows(self.fixed):
            job = replace(job, global_batch=None)
        return find_remedies(job, self.cluster, self.fixed)


def make_plan(job: Job, cluster: Cluster, fixed: Mapping[str, Any] | None = None) -> Plan:
    """Search all layouts; `fixed` holds fields of Layout that are decided already."""
    fixed = fixed or {}
    assumptions = [UNITS, ATTENTION[_attention(job)], *cluster.assumptions]
    if job.shape.architecture not in READERS:
        assumptions.append(
            f"{job.shape.architecture} has no reader: its parameters are counted on transformers' "
            "model, what its layers keep is near"
        )
    if job.shape.vision and not job.num_patches:
        assumptions.append("text alone: what images take in the vision tower is not counted")
    if not cluster.has_known_speed:
        assumptions.append(
            f"nothing about the speed of {cluster.accelerator.name}: `fsft calibrate` measures it"
        )
    elif cluster.accelerator.name == "cpu":
        assumptions.append("times on a CPU are rough: the constants were fitted to accelerators")
    batch_is_given = job.global_batch is not None
    if not batch_is_given and _follows(fixed):
        found = search(job, cluster, fixed)
        best = found.best
        batch = best.layout.global_batch if best else _global_batch(cluster, fixed)
        assumptions.append(f"a global batch of {batch} sequences, from the micro batch that fits")
    else:
        batch = job.global_batch or _global_batch(cluster, fixed)
        if not batch_is_given:
            assumptions.append(f"a global batch of {batch} sequences, since none is given")
        found = search(replace(job, global_batch=batch), cluster, fixed)
    job = replace(job, global_batch=batch)
    if cluster.host_memory is None and found.best and found.best.layout.offload_optimizer != "none":
        assumptions.append("enough main memory for what is offloaded, since none is given")
    warnings = tuple(_warnings(job))
    return Plan(job, cluster, fixed, found, warnings, tuple(assumptions), batch_is_given)


UNITS = (
    "1 GiB = 2³⁰ bytes; a range holds 8 of 10 published runs of the kind; "
    "what fits, fits at its upper end"
)
ATTENTION = {
    "fused": "attention by a fused kernel without a mask, as flash-attn has it",
    "masked": "attention by PyTorch's own kernel, one packed sample at a time",
    "scores": "attention that keeps a score for each pair of tokens",
}


def _attention(job: Job) -> str:
    """How most of the model's attention is computed."""
    keeps_scores = any(layer.attention.score_bytes for layer, _ in job.shape.stack.layers)
    return "scores" if keeps_scores else job.style.attention


def _follows(fixed: Mapping[str, Any]) -> bool:
    """Whether a global batch that is not given is what the micro batch makes of it."""
    return "gradient_accumulation" in fixed and "micro_batch" not in fixed


def _global_batch(cluster: Cluster, fixed: Mapping[str, Any]) -> int:
    together = prod(fixed.get(degree, 1) for degree in ("tensor", "pipeline", "sequence"))
    replicas = max(1, cluster.num_devices // together)
    micro_batch = fixed.get("micro_batch", 1)
    accumulation = fixed.get("gradient_accumulation")
    if accumulation:
        return int(replicas * micro_batch * accumulation)
    rounds = max(1, -(-SEQUENCES // (replicas * micro_batch)))
    return int(replicas * micro_batch * rounds)


def _warnings(job: Job) -> list[str]:
    longest = job.shape.max_positions
    if longest is not None and job.sequence_length > longest:
        return [
            f"sequences of {job.sequence_length} tokens are longer than the {longest} positions "
            "that the model was made for"
        ]
    return []

"""The cheapest change that would make a job fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fsft.recipes.hardware.cluster import Cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.method import Method
from fsft.recipes.planner.search import Candidate, search

MOST_NODES = 4096
LEAST_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change, and the best layout with it."""

    change: str
    candidate: Candidate
    device_seconds: float
    """Of all devices together, for one token; 0 where the speed is not known."""


def find_remedies(job: Job, cluster: Cluster, fixed: Mapping[str, Any]) -> tuple[Remedy, ...]:
    """Changes after which something fits, the cheapest in device time for a token first."""
    found = []
    for change, changed_job, changed_cluster, changed_fixed in _changes(job, cluster, fixed):
        best = search(changed_job, changed_cluster, changed_fixed).best
        if best is not None:
            tokens = best.layout.global_batch * changed_job.sequence_length
            seconds = best.time.seconds if best.time else 0.0
            spent = seconds * changed_cluster.num_devices / tokens
            found.append(Remedy(change, best, spent))
    found.sort(key=lambda remedy: remedy.device_seconds)
    return tuple(found)


def _changes(
    job: Job, cluster: Cluster, fixed: Mapping[str, Any]
) -> Iterator[tuple[str, Job, Cluster, Mapping[str, Any]]]:
    if fixed:
        yield "let the planner choose the whole layout", job, cluster, {}
    for method in ("lora", "qlora"):
        if job.method.type == "full" or (method == "qlora" and job.method.type == "lora"):
            changed = Method(
                type=method,
                rank=job.method.rank,
                quantization="nf4-dq" if method == "qlora" else None,
            )
            yield f'method.type = "{method}"', replace(job, method=changed), cluster, fixed
    length = _first_that_fits(job, cluster, fixed)
    if length:
        shorter = replace(job, sequence_length=length)
        yield f"data.sequence_length = {length}", shorter, cluster, fixed
    nodes = cluster.num_nodes * 2
    while nodes <= MOST_NODES:
        larger = replace(cluster, num_nodes=nodes)
        wide = job
        if batch := job.global_batch:
            wide = replace(job, global_batch=-(-batch // larger.num_devices) * larger.num_devices)
        if search(wide, larger, fixed).best is not None:
            yield f"{nodes} nodes instead of {cluster.num_nodes}", wide, larger, fixed
            break
        nodes *= 2


def _first_that_fits(job: Job, cluster: Cluster, fixed: Mapping[str, Any]) -> int | None:
    """The longest power of two below the sequence's length with which something fits."""
    length = int(2 ** ((job.sequence_length - 1).bit_length() - 1))
    while length >= LEAST_LENGTH:
        if search(replace(job, sequence_length=length), cluster, fixed).best is not None:
            return length
        length //= 2
    return None

"""The estimate that Megatron-DeepSpeed scripts have published, kept for comparison.

Sizes are in 1e9 elements or 1e9 bytes ("GB"). It is wrong where docs/planner.md says so.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.plan import Plan

PUBLISHED_BATCH = 8
"""Sequences of one device, in the published table."""


@dataclass(frozen=True)
class ClassicalModel:
    """What the estimate wants to know about a model and a batch."""

    hidden: int
    num_layers: int
    sequence_length: int
    vocab_size: int
    batch: int
    checkpointing: bool = True


@dataclass(frozen=True)
class ClassicalRow:
    """A module: parameters (or elements) in 1e9, bytes in 1e9 when evaluating and training."""

    name: str
    size: float
    evaluate: float
    train: float | None


@dataclass(frozen=True)
class ClassicalLayout:
    """A recommended layout: "zero" as the scripts write it, bytes in 1e9 a device."""

    zero: str
    tensor: int
    pipeline: int
    data: int
    memory: float
    days: float
    reason: str


@dataclass(frozen=True)
class Classical:
    """The whole estimate."""

    modules: tuple[ClassicalRow, ...]
    per_device: tuple[tuple[str, float, float], ...]
    """ZeRO stage, 10⁹ bytes to evaluate, 1e9 bytes to train."""
    layouts: tuple[ClassicalLayout, ...]


def classical_estimate(
    model: ClassicalModel,
    *,
    num_nodes: int,
    devices_per_node: int,
    device_gigabytes: float,
    num_tokens: float,
    tflops: float = 140.0,
) -> Classical:
    """The three tables for `num_tokens` of training at `tflops` achieved a device."""
    devices = num_nodes * devices_per_node
    hidden, length = model.hidden, model.sequence_length
    embedding = (model.vocab_size * hidden + length * hidden) / 1e9
    layer = (12 * hidden**2 + 6 * hidden) / 1e9
    parameters = model.num_layers * layer + embedding + hidden / 1e9
    inputs = model.batch * length * hidden / 1e9
    layer_activation = 34 * model.batch * length * hidden / 1e9
    total_activation = _kept(model, layer_activation * model.num_layers)
    extra = inputs + total_activation
    train = 16 * parameters + 2 * extra
    shown = _kept(model, 34 * length * hidden / 1e9 * model.num_layers)
    modules = (
        ClassicalRow("embedding", embedding, 2 * embedding, 16 * embedding),
        ClassicalRow("one layer", layer, 2 * layer, 16 * layer),
        ClassicalRow("input", inputs, 2 * inputs, None),
        ClassicalRow("activation of one sequence", shown, 2 * shown, None),
        ClassicalRow("all", parameters + extra, 2 * (parameters + extra), train),
    )
    stages = {
        1: (2 * parameters, parameters * (4 + 12 / devices) + 2 * extra),
        2: (2 * parameters, parameters * (2 + 14 / devices) + 2 * extra),
        3: (2 * parameters / devices, 16 * parameters / devices + 2 * extra),
    }
    days = num_tokens * 8 * parameters * 1e9 / (devices * tflops * 1e12 * 86400)
    rule = _Rule(parameters, extra, train, devices, devices_per_node, device_gigabytes - 1, days)
    per_device = tuple((f"ZeRO {stage}", *row) for stage, row in stages.items())
    return Classical(modules, per_device, tuple(rule.layouts(stages)))


def _kept(model: ClassicalModel, elements: float) -> float:
    """With checkpointing the square root of 1e9 elements, a number that depends on the unit."""
    return math.sqrt(elements) if model.checkpointing else elements


@dataclass(frozen=True)
class _Rule:
    """How the scripts choose."""

    parameters: float
    extra: float
    train: float
    devices: int
    devices_per_node: int
    usable: float
    days: float

    def layouts(self, stages: dict[int, tuple[float, float]]) -> Iterator[ClassicalLayout]:
        """The recommended rows."""
        zero1, zero2, zero3 = (stages[stage][1] for stage in (1, 2, 3))
        if self.train > self.usable * self.devices:
            missing = self.train - self.usable * self.devices
            yield self._pure(
                "ZeRO-Infinity", zero3, f"{missing:.2f} GB are missing on {self.devices} devices"
            )
        elif zero1 < self.usable:
            yield self._pure("Zero1", zero1, "fits")
        elif abs(zero1 - self.usable) < 3:
            yield self._pure("Zero1+offload", zero1, "nearly fits")
        elif zero2 < self.usable:
            yield self._pure("Zero2", zero2, "fits, Zero1 does not")
        else:
            reason = "can't use pure Zero1 or Zero2"
            yield self._split(reason)
            yield self._pure("Zero3+(offload)", zero3, reason)

    def _pure(self, zero: str, memory: float, reason: str) -> ClassicalLayout:
        return ClassicalLayout(zero, 1, 1, self.devices, memory, self.days, reason)

    def _split(self, reason: str) -> ClassicalLayout:
        tensor, pipeline = self.devices_per_node, 1
        if self.train >= self.devices_per_node * self.usable:
            pipeline = math.ceil(self.train / (self.devices_per_node * self.usable))
        data = max(1, int(self.devices / tensor / pipeline))
        if data == 1:
            pipeline = self.devices // tensor
        states = self.parameters * (4 + 12 / data) / (tensor * pipeline)
        name = "Zero1+TP+PP" if pipeline > 1 else "Zero1+TP"
        memory = states + 2 * self.extra / tensor
        return ClassicalLayout(name, tensor, pipeline, data, memory, self.days, reason)


def classical_of(plan: Plan, *, tflops: float = 140.0) -> Classical:
    """The classical estimate for the question that `plan` answers.

    It counts devices in GB as they are sold, and takes the sequences of one device for its batch.
    """
    shape, cluster = plan.job.shape, plan.cluster
    batch = PUBLISHED_BATCH
    if plan.batch_is_given:
        batch = max(1, (plan.job.global_batch or 1) // cluster.num_devices)
    return classical_estimate(
        ClassicalModel(
            hidden=shape.hidden,
            num_layers=shape.stack.num_layers,
            sequence_length=plan.job.sequence_length,
            vocab_size=shape.vocab_size,
            batch=batch,
        ),
        num_nodes=cluster.num_nodes,
        devices_per_node=cluster.devices_per_node,
        device_gigabytes=cluster.accelerator.sold_gigabytes,
        num_tokens=plan.job.num_tokens or 1e9,
        tflops=tflops,
    )


def differences(plan: Plan, estimate: Classical) -> list[str]:
    """In words, what fsft counts that the estimate does not."""
    shape = plan.job.shape
    counted = next(row for row in estimate.modules if row.name == "all")
    parameters = estimate.per_device[0][1] / 2
    said = [
        f"parameters: {parameters:.2f} by 12·h² + 6·h a layer, {shape.num_parameters / 1e9:.2f} "
        "by the model's own modules (grouped queries, gated feed-forward, separate head)",
        f"activations: the square root of 10⁹ elements gives {counted.size - parameters:.2f}, a "
        "number that changes with the unit; fsft counts the tensors that backward reads",
        "memory: no logits, no buffers, no context, and the recommended row is not checked to fit",
        "days: 8·P FLOPs a token at a given TFLOPS, without bubble or communication",
    ]
    best = plan.best
    if best is not None and plan.job.num_tokens is not None:
        cost = plan_cost(plan.job, best.layout, best.time, plan.cluster)
        said.append(f"fsft: {best.layout.name}, {cost.days:.2f} days")
    return said

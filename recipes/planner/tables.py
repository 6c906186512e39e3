"""The three tables of a plan, as rows of plain values. Sizes are in parameters and bytes."""

from dataclasses import dataclass

from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import Memory, plan_memory
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.ranges import Range, memory_range
from fsft.recipes.planner.search import CHECKPOINTING
from fsft.recipes.planner.stages import stage_activations


@dataclass(frozen=True)
class ModuleRow:
    """A part of the model: parameters, and bytes on one device that holds all of it.

    Activations have no parameters; `train` is weights, gradients and optimizer states, or the
    activations of one sequence.
    """

    name: str
    parameters: int | None
    evaluate: float
    train: float


@dataclass(frozen=True)
class StrategyRow:
    """A ZeRO stage without any other parallelism: bytes per device, and whether they fit."""

    zero: int
    layout: Layout
    memory: Memory
    evaluate: float
    train: Range
    fits: bool


def module_table(job: Job) -> list[ModuleRow]:
    """Embedding, one layer of each kind, what else there is, activations, and all together."""
    shape, style = job.shape, job.style
    per_parameter = style.weight_bytes + style.gradient_bytes + style.optimizer_bytes

    def row(name: str, parameters: int) -> ModuleRow:
        return ModuleRow(
            name, parameters, style.weight_bytes * parameters, per_parameter * parameters
        )

    rows = [row("embedding", shape.num_embedding_parameters)]
    kinds = shape.stack.layers
    for layer, count in kinds:
        name = "one layer" if len(kinds) == 1 else f"one layer of {count}"
        rows.append(row(name, layer.num_parameters))
    rows.append(row(f"all {shape.stack.num_layers} layers", shape.stack.num_parameters))
    if shape.encoder:
        rows.append(row("encoder", shape.encoder.num_parameters))
    if shape.vision:
        rows.append(row("vision tower", shape.vision.num_parameters))
    norms = sum(norm.num_parameters for norm in (*shape.final_norms, *shape.encoder_norms))
    rows.append(row("last norm and head", shape.num_head_parameters + norms))
    inputs = style.compute_bytes * job.sequence_length * shape.hidden
    kept, _ = stage_activations(job, Layout(), 0)
    activations = kept * job.sequence_length
    rows.append(ModuleRow("input of one sequence", None, inputs, inputs))
    rows.append(ModuleRow("activations of one sequence", None, 0.0, activations))
    everything = row("", shape.num_parameters)
    rows.append(
        ModuleRow(
            "all",
            shape.num_parameters,
            everything.evaluate + inputs,
            everything.train + inputs + activations,
        )
    )
    return rows


def strategy_table(plan: Plan) -> list[StrategyRow]:
    """ZeRO 0 to 3 over all devices, each with as little checkpointing as fits."""
    rows = []
    for zero in (0, 1, 2, 3):
        for checkpointing in CHECKPOINTING:
            layout = Layout(
                zero=zero,
                data=plan.cluster.num_devices,
                checkpointing=checkpointing,
                gradient_accumulation=max(
                    1, (plan.job.global_batch or 1) // plan.cluster.num_devices
                ),
            )
            memory = plan_memory(plan.job, layout)
            train = memory_range(memory.device_total, plan.job.style.family)
            fits = train.high <= plan.cluster.accelerator.memory
            if fits or checkpointing == CHECKPOINTING[-1]:
                evaluate = memory.peak_of("evaluate")
                held = evaluate.weights + evaluate.logits + evaluate.activations + evaluate.buffers
                rows.append(StrategyRow(zero, layout, memory, held, train, fits))
                break
    return rows

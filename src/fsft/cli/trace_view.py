"""`fsft plan --trace`: the formulas' figures beside those of the real model."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from fsft.recipes.planner.one_device import on_one_device
from fsft.recipes.planner.plan import Plan
from fsft.recipes.problems import Problem, Refused
from fsft.runtime.trace.trace import StepTrace, trace_step

GIB = 2**30
SHOWN_TENSORS = 8


def show_trace(config: Mapping[str, Any], plan: Plan, console: Console) -> None:
    """Trace one micro batch of the recommended layout on one device, and compare.

    Raises Refused where no layout fits, and for methods whose adapters are not traced.
    """
    if plan.best is None or plan.job.method.type != "full":
        reason = "no layout fits" if plan.best is None else "only full training is traced"
        raise Refused(Problem(file="--trace", reason=f"{reason}."))
    layout = plan.best.layout
    with console.status("tracing one step"):
        traced = trace_step(
            dict(config),
            micro_batch=layout.micro_batch,
            sequence_length=plan.job.sequence_length,
            checkpointing=layout.checkpointing,
            every=layout.checkpointed_every,
            dtype=plan.job.style.dtype,
            packed=plan.job.style.attention == "masked",
        )
    console.print(_comparison(plan, traced))
    console.print(_tensors(traced))


def _comparison(plan: Plan, traced: StepTrace) -> Table:
    layout = plan.best.layout if plan.best else None
    assert layout is not None
    expected = on_one_device(plan.job, layout)
    title = (
        f"\nOne micro batch of {layout.micro_batch} on one device, "
        f"checkpointing {layout.checkpointing}"
    )
    table = _table(title, "", "formula", "traced", "difference")
    rows: list[tuple[str, float | None, float, float, str]] = [
        ("parameters", expected.parameters, traced.num_parameters, 1, ",.0f"),
        ("weights, GiB", expected.weights, traced.parameter_bytes, GIB, ".2f"),
        ("kept by forward, GiB", expected.kept, traced.activation_bytes, GIB, ".3f"),
        ("peak besides weights, GiB", expected.peak, traced.peak_bytes, GIB, ".3f"),
        ("TFLOPs", expected.flops, traced.flops, 1e12, ".3f"),
    ]
    for name, formula, real, unit, shown in rows:
        if formula is None:
            table.add_row(name, "", f"{real / unit:{shown}}", "")
        else:
            difference = f"{formula / real - 1:+.2%}"
            table.add_row(name, f"{formula / unit:{shown}}", f"{real / unit:{shown}}", difference)
    return table


def _tensors(traced: StepTrace) -> Table:
    table = _table("\nLargest tensors that forward keeps", "operation", "shape", "number", "GiB")
    for kept in traced.kept[:SHOWN_TENSORS]:
        shape = " × ".join(map(str, kept.shape))
        table.add_row(
            kept.operation.removeprefix("aten.").removesuffix(".default"),
            f"{shape} {kept.dtype}",
            str(kept.count),
            f"{kept.num_bytes / GIB:.3f}",
        )
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right", header_style="dim")
    return table

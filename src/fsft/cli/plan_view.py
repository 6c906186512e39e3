"""A plan on the screen: the three tables, what was assumed, and why others were rejected."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fsft.recipes.planner.classical import classical_of, differences
from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.explain import explain_memory, explain_time, stages_words
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.ranges import memory_range, time_range
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.view import (
    distinct,
    duration,
    gib,
    layout_cells,
    modules_view,
    plan_table,
    step_seconds,
    strategies_view,
    why_best,
)
from fsft.recipes.units import format_count

SHOWN_LAYOUTS = 5
SHOWN_REASONS = 5


def show_plan(plan: Plan, console: Console) -> None:
    """The whole plan, for a person."""
    console.print(_heading(plan))
    console.print(modules_view(plan))
    console.print(strategies_view(plan))
    if plan.best:
        console.print(_layouts(plan))
        console.print(_verdict(plan, plan.best))
    else:
        console.print(_nothing_fits(plan))
    _print_lines(console, _footnotes(plan), "dim")


def show_all(plan: Plan, console: Console) -> None:
    """Every layout that fits, and every other with the reason."""
    table = plan_table("\nAll layouts", "layout", "micro", "keep", "GiB", "s/step", "why not")
    for candidate in plan.search.candidates:
        table.add_row(
            candidate.layout.name,
            str(candidate.layout.micro_batch),
            candidate.layout.checkpointing,
            gib(candidate.memory.device_total),
            step_seconds(candidate),
            "" if candidate.fits == "yes" else "may be too much",
        )
    for rejected in plan.search.rejected:
        layout = rejected.layout
        table.add_row(
            layout.name, str(layout.micro_batch), "", "", "", rejected.reason, style="dim"
        )
    console.print(table)


def show_arithmetic(plan: Plan, console: Console) -> None:
    """The formulas of the best layout with their numbers."""
    best = plan.best
    if best is None:
        return
    console.print(Text(f"\nArithmetic of {best.layout.name}", style="bold"))
    _print_lines(console, explain_memory(plan.job, best.layout, best.memory))
    if best.time:
        _print_lines(console, explain_time(plan.job, best.layout, best.time, plan.cluster))


def show_classical(plan: Plan, console: Console) -> None:
    """The classical published estimate for the same question."""
    estimate = classical_of(plan)
    title = "\nThe classical estimate, in GB (10⁹ bytes)"
    table = plan_table(title, "module", "size, 10⁹", "evaluate", "train")
    for row in estimate.modules:
        train = "" if row.train is None else f"{row.train:.2f}"
        table.add_row(row.name, f"{row.size:.2f}", f"{row.evaluate:.2f}", train)
    for name, evaluate, gigabytes in estimate.per_device:
        table.add_row(f"{name}, per device", "", f"{evaluate:.2f}", f"{gigabytes:.2f}")
    for layout in estimate.layouts:
        name = f"{layout.zero}, TP {layout.tensor}, PP {layout.pipeline}, DP {layout.data}"
        table.add_row(name, "", f"{layout.days:.2f} days", f"{layout.memory:.2f}")
    console.print(table)
    _print_lines(
        console, [f"its reason: {estimate.layouts[0].reason}", *differences(plan, estimate)]
    )


def _heading(plan: Plan) -> RenderableType:
    shape, cluster = plan.job.shape, plan.cluster
    active = ""
    if shape.num_active_parameters != shape.num_parameters:
        active = f" ({format_count(float(shape.num_active_parameters))} active)"
    return Text.assemble(
        (f"{format_count(float(shape.num_parameters))} parameters{active}", "bold"),
        f", {plan.job.method.type}, sequences of {plan.job.sequence_length:,} tokens, "
        f"global batch {plan.job.global_batch}\n",
        (f"{cluster.num_nodes} × {cluster.devices_per_node} × {cluster.accelerator.name}", "bold"),
        f", {gib(cluster.accelerator.memory)} GiB a device\n",
    )


def _layouts(plan: Plan) -> Table:
    """The best layouts."""
    columns, rows = layout_cells(plan, distinct(plan, SHOWN_LAYOUTS))
    table = plan_table("\nLayouts, the best first", *columns)
    for index, row in enumerate(rows):
        table.add_row(*row, style="" if index else "bold")
    return table


def _verdict(plan: Plan, best: Candidate) -> RenderableType:
    family = plan.job.style.family
    memory = memory_range(best.memory.device_total, family)
    room = plan.cluster.accelerator.memory
    sure = best.fits == "yes"
    parts: list[str | tuple[str, str]] = [
        ("\n✓ ", "bold green") if sure else ("\n? ", "bold yellow"),
        (best.layout.name, "bold"),
        f"{'' if sure else ' may fit'}: {gib(memory.low)} to {gib(memory.high)} of "
        f"{gib(room)} GiB a device",
    ]
    if best.time:
        step = time_range(best.time.seconds, family)
        parts.append(
            f", {step.low:.2f} to {step.high:.2f} s a step, "
            f"{best.time.tokens_per_second_per_device:,.0f} tokens/s a device"
        )
    cost = plan_cost(plan.job, best.layout, best.time, plan.cluster)
    if cost.device_hours is not None:
        parts.append(f", {duration(cost)}, {cost.device_hours:,.1f} device hours")
        parts.append("" if cost.price is None else f", {cost.price:,.2f}")
        energy = cost.kilowatt_hours
        parts.append("" if energy is None else f", {energy:,.0f} kWh at most")
    parts.append(f". {why_best(plan, best)}\n")
    return Text.assemble(*parts)


def _nothing_fits(plan: Plan) -> RenderableType:
    lines: list[RenderableType] = [Text("\n✗ No layout fits. What would:", "bold red")]
    for remedy in plan.remedies:
        candidate = remedy.candidate
        speed = ""
        if candidate.time:
            speed = f", {candidate.time.tokens_per_second_per_device:,.0f} tokens/s a device"
        memory = gib(candidate.memory.device_total)
        lines.append(
            Text(f"  {remedy.change}: {candidate.layout.name}, {memory} GiB a device{speed}")
        )
    if not plan.remedies:
        lines.append(Text("  nothing that fsft knows to change."))
    return Group(*lines, "")


def _footnotes(plan: Plan) -> Iterator[str]:
    reasons = Counter(rejected.reason for rejected in plan.search.rejected)
    if reasons:
        yield f"{reasons.total()} layouts were rejected; --all lists them. Among them:"
    # Of layouts that differ in checkpointing alone, the last needs the least.
    used = {candidate.layout.name for candidate in plan.search.candidates}
    nearest = {
        rejected.layout.name: rejected.reason
        for rejected in plan.search.rejected
        if rejected.layout.name not in used
    }
    for name, reason in list(nearest.items())[:SHOWN_REASONS]:
        yield f"  {name}: {reason}"
    if plan.best and plan.best.layout.pipeline > 1:
        yield stages_words(plan.job, plan.best.layout.pipeline)
    for warning in plan.warnings:
        yield f"warning: {warning}"
    for assumption in plan.assumptions:
        yield f"assumed: {assumption}"


def _print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        console.print(Padding(Text(line, style=style), (0, 0, 0, 2)))

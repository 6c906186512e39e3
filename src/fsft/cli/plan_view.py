"""A plan on the screen: the three tables, what was assumed, and why others were rejected."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fsft.recipes.planner.classical import classical_of, differences
from fsft.recipes.planner.cost import Cost, plan_cost
from fsft.recipes.planner.explain import explain_memory, explain_time
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.ranges import memory_range, time_range
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.tables import module_table, strategy_table
from fsft.recipes.units import format_count, format_duration

GIB = 2**30
SHOWN_LAYOUTS = 5
SHOWN_REASONS = 5


def show_plan(plan: Plan, console: Console) -> None:
    """The whole plan, for a person."""
    console.print(_heading(plan))
    console.print(_modules(plan))
    console.print(_strategies(plan))
    if plan.best:
        console.print(_layouts(plan))
        console.print(_verdict(plan, plan.best))
    else:
        console.print(_nothing_fits(plan))
    _print_lines(console, _footnotes(plan), "dim")


def show_all(plan: Plan, console: Console) -> None:
    """Every layout that fits, and every other with the reason."""
    table = _table("\nAll layouts", "layout", "micro", "keep", "GiB", "s/step", "why not")
    for candidate in plan.search.candidates:
        table.add_row(
            candidate.layout.name,
            str(candidate.layout.micro_batch),
            _checkpointing(candidate),
            _gib(candidate.memory.device_total),
            _seconds(candidate),
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
    table = _table(title, "module", "size, 10⁹", "evaluate", "train")
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
        f", {_gib(cluster.accelerator.memory)} GiB a device\n",
    )


def _modules(plan: Plan) -> Table:
    table = _table("Model, on one device", "module", "parameters", "evaluate GiB", "train GiB")
    for row in module_table(plan.job):
        parameters = "" if row.parameters is None else format_count(float(row.parameters))
        style = "bold" if row.name == "all" else ""
        table.add_row(row.name, parameters, _gib(row.evaluate), _gib(row.train), style=style)
    return table


def _strategies(plan: Plan) -> Table:
    table = _table(
        "\nZeRO alone, per device",
        "ZeRO",
        "checkpointing",
        "evaluate GiB",
        "train GiB",
        "range",
        "fits",
    )
    for row in strategy_table(plan):
        table.add_row(
            str(row.zero),
            row.layout.checkpointing,
            _gib(row.evaluate),
            _gib(row.train.expected),
            f"{_gib(row.train.low)} – {_gib(row.train.high)}",
            Text("yes", "green") if row.fits else Text("no", "red"),
        )
    return table


def _layouts(plan: Plan) -> Table:
    """The best layouts; degrees that are 1 everywhere have no column."""
    shown = distinct(plan, SHOWN_LAYOUTS)
    degrees = {
        short: [getattr(candidate.layout, name) for candidate in shown]
        for short, name in (
            ("DP", "data"),
            ("TP", "tensor"),
            ("PP", "pipeline"),
            ("SP", "sequence"),
            ("EP", "expert"),
        )
    }
    used = [short for short, values in degrees.items() if short == "DP" or max(values) > 1]
    offloads = any(candidate.layout.offload_optimizer != "none" for candidate in shown)
    table = _table(
        "\nLayouts, the best first",
        "ZeRO",
        *used,
        "batch",
        "checkpointing",
        *(["offload"] if offloads else []),
        "GiB",
        "s/step",
        "MFU",
        "time",
        *(["cost"] if plan.cluster.price_per_device_hour else []),
    )
    for index, candidate in enumerate(shown):
        layout = candidate.layout
        cost = plan_cost(plan.job, layout, candidate.time, plan.cluster)
        table.add_row(
            str(layout.zero),
            *(str(degrees[short][index]) for short in used),
            f"{layout.micro_batch} × {layout.gradient_accumulation}",
            layout.checkpointing,
            *([_offload(candidate)] if offloads else []),
            _gib(candidate.memory.device_total),
            _seconds(candidate),
            f"{candidate.time.mfu:.0%}" if candidate.time else "",
            _duration(cost),
            *([_price(cost)] if plan.cluster.price_per_device_hour else []),
            style="bold" if index == 0 else "",
        )
    return table


def distinct(plan: Plan, number: int) -> list[Candidate]:
    """The best layouts, not two that differ in batch or checkpointing alone."""
    found: dict[str, Candidate] = {}
    for candidate in plan.search.candidates:
        found.setdefault(candidate.layout.name, candidate)
    return list(found.values())[:number]


def _verdict(plan: Plan, best: Candidate) -> RenderableType:
    family = plan.job.style.family
    memory = memory_range(best.memory.device_total, family)
    room = plan.cluster.accelerator.memory
    sure = best.fits == "yes"
    parts: list[str | tuple[str, str]] = [
        ("\n✓ ", "bold green") if sure else ("\n? ", "bold yellow"),
        (best.layout.name, "bold"),
        f"{'' if sure else ' may fit'}: {_gib(memory.low)} to {_gib(memory.high)} of "
        f"{_gib(room)} GiB a device",
    ]
    if best.time:
        step = time_range(best.time.seconds, family)
        parts.append(
            f", {step.low:.2f} to {step.high:.2f} s a step, "
            f"{best.time.tokens_per_second_per_device:,.0f} tokens/s a device"
        )
    cost = plan_cost(plan.job, best.layout, best.time, plan.cluster)
    if cost.device_hours is not None:
        parts.append(f", {_duration(cost)}, {cost.device_hours:,.1f} device hours")
        parts.append("" if cost.price is None else f", {cost.price:,.2f}")
        energy = cost.kilowatt_hours
        parts.append("" if energy is None else f", {energy:,.0f} kWh at most")
    parts.append(f". {why_best(plan, best)}\n")
    return Text.assemble(*parts)


def why_best(plan: Plan, best: Candidate) -> str:
    """One sentence on what decided."""
    others = distinct(plan, 2)[1:]
    if not others:
        return "No other layout fits." if plan.search.rejected else "There is no other layout."
    second = others[0]
    name = second.layout.name
    if second.rank[0] > best.rank[0]:
        return "No other layout surely fits."
    if second.rank[1] > best.rank[1] and second.time and best.time:
        return f"Fastest: {name} takes {second.time.seconds / best.time.seconds - 1:.0%} longer."
    if second.rank[2] > best.rank[2]:
        return f"More memory to spare than {name}, and as fast."
    return f"Simpler than {name}, and as good."


def _nothing_fits(plan: Plan) -> RenderableType:
    lines: list[RenderableType] = [Text("\n✗ No layout fits. What would:", "bold red")]
    for remedy in plan.remedies:
        candidate = remedy.candidate
        speed = ""
        if candidate.time:
            speed = f", {candidate.time.tokens_per_second_per_device:,.0f} tokens/s a device"
        memory = _gib(candidate.memory.device_total)
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
    for warning in plan.warnings:
        yield f"warning: {warning}"
    for assumption in plan.assumptions:
        yield f"assumed: {assumption}"


def _print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        console.print(Padding(Text(line, style=style), (0, 0, 0, 2)))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    words = {"checkpointing", "offload", "why not", "keep"}
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if not index or column in words else "right"
        table.add_column(column, justify=justify, header_style="dim")
    return table


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / GIB:.2f}" if num_bytes < 1000 * GIB else f"{num_bytes / GIB:,.0f}"


def _seconds(candidate: Candidate) -> str:
    return f"{candidate.time.seconds:.2f}" if candidate.time else ""


def _checkpointing(candidate: Candidate) -> str:
    return candidate.layout.checkpointing


def _offload(candidate: Candidate) -> str:
    layout = candidate.layout
    if layout.offload_weights != "none":
        return f"all, {layout.offload_weights}"
    return "" if layout.offload_optimizer == "none" else f"Adam, {layout.offload_optimizer}"


def _duration(cost: Cost) -> str:
    if cost.seconds is None:
        return "?"
    return f"{cost.days:.2f} d" if cost.days > 1 else format_duration(cost.seconds)


def _price(cost: Cost) -> str:
    return "" if cost.price is None else f"{cost.price:,.0f}"

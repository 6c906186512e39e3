"""A plan's tables and words, for every screen that shows them."""

from typing import Literal

from rich.table import Table
from rich.text import Text

from fsft.recipes.planner.cost import Cost, plan_cost
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.tables import module_table, strategy_table
from fsft.recipes.units import format_count, format_duration, format_span

GIB = 2**30


def modules_view(plan: Plan) -> Table:
    """Parameters and memory by module."""
    table = plan_table("Model, on one device", "module", "parameters", "evaluate GiB", "train GiB")
    for row in module_table(plan.job):
        parameters = "" if row.parameters is None else format_count(float(row.parameters))
        style = "bold" if row.name == "all" else ""
        table.add_row(row.name, parameters, gib(row.evaluate), gib(row.train), style=style)
    return table


def strategies_view(plan: Plan) -> Table:
    """ZeRO 0 to 3 over all devices."""
    table = plan_table(
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
            gib(row.evaluate),
            gib(row.train.expected),
            f"{gib(row.train.low)} – {gib(row.train.high)}",
            Text("yes", "green") if row.fits else Text("no", "red"),
        )
    return table


def layout_cells(plan: Plan, shown: list[Candidate]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of layouts; degrees that are 1 everywhere have no column."""
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
    used = [
        short for short, values in degrees.items() if short == "DP" or max(values, default=1) > 1
    ]
    offloads = any(candidate.layout.offload_optimizer != "none" for candidate in shown)
    priced = plan.cluster.price_per_device_hour
    columns = ["ZeRO", *used, "batch", "checkpointing", *(["offload"] if offloads else [])]
    columns += ["GiB", "s/step", "MFU", "time", *(["cost"] if priced else [])]
    rows = []
    for index, candidate in enumerate(shown):
        layout = candidate.layout
        cost = plan_cost(plan.job, layout, candidate.time, plan.cluster)
        rows.append(
            [
                str(layout.zero),
                *(str(degrees[short][index]) for short in used),
                f"{layout.micro_batch} × {layout.gradient_accumulation}",
                layout.checkpointing_words,
                *([offload(layout)] if offloads else []),
                gib(candidate.memory.device_total),
                step_seconds(candidate),
                f"{candidate.time.mfu:.0%}" if candidate.time else "",
                "?" if cost.seconds is None else format_span(cost.seconds),
                *([price(cost)] if priced else []),
            ]
        )
    return columns, rows


def distinct(plan: Plan, number: int) -> list[Candidate]:
    """The best layouts, not two that differ in batch or checkpointing alone."""
    found: dict[str, Candidate] = {}
    for candidate in plan.search.candidates:
        if len(found) == number:
            break
        found.setdefault(candidate.layout.name, candidate)
    return list(found.values())


def why_best(plan: Plan, best: Candidate) -> str:
    """One sentence on what decided."""
    others = distinct(plan, 2)[1:]
    if not others:
        return "No other layout fits." if plan.search.rejected else "There is no other layout."
    second = others[0]
    name, mine, theirs = second.layout.name, best.rank, second.rank
    if theirs.doubt > mine.doubt:
        return "No other layout surely fits."
    if best.time is None or second.time is None:
        why = f"Simpler than {name}; which is faster is not known."
    elif theirs.pace > mine.pace:
        longer = second.time.seconds / best.time.seconds - 1
        why = f"Fastest: {name} takes {longer:.0%} longer."
    elif theirs.offloaded > mine.offloaded:
        why = f"As fast as {name}, and less leaves the devices."
    elif theirs.spare > mine.spare:
        why = f"More memory to spare than {name}, and as fast."
    else:
        why = f"Simpler than {name}, and as good."
    return why


def plan_table(title: str, *columns: str) -> Table:
    """An empty table in the look of all tables of a plan."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    words = {"checkpointing", "offload", "why not", "keep", "layout", ""}
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if not index or column in words else "right"
        table.add_column(column, justify=justify, header_style="dim")
    return table


def gib(num_bytes: float) -> str:
    """Memory in GiB, without the unit."""
    return f"{num_bytes / GIB:.2f}" if num_bytes < 1000 * GIB else f"{num_bytes / GIB:,.0f}"


def step_seconds(candidate: Candidate) -> str:
    """Seconds of a step; empty where the speed is not known."""
    return f"{candidate.time.seconds:.2f}" if candidate.time else ""


def offload(layout: Layout) -> str:
    """What leaves the devices, and where it goes."""
    if layout.offload_weights != "none":
        return f"all, {layout.offload_weights}"
    return "" if layout.offload_optimizer == "none" else f"Adam, {layout.offload_optimizer}"


def duration(cost: Cost) -> str:
    """How long the whole budget takes."""
    if cost.seconds is None:
        return "?"
    return f"{cost.days:.2f} d" if cost.days > 1 else format_duration(cost.seconds)


def price(cost: Cost) -> str:
    """What the whole budget costs, in whole units."""
    return "" if cost.price is None else f"{cost.price:,.0f}"

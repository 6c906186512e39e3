"""The verdict that is always in sight: does it fit, how long, at what price."""

from textual.content import Content
from textual.widgets import Static

from fsft.recipes.planner.fit import host_bytes
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.ranges import memory_range, time_range
from fsft.recipes.planner.remedies import Remedy
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.view import gib, why_best
from fsft.recipes.units import format_count, format_duration
from fsft.wizard.outlook import Outlook
from fsft.wizard.questions import BY_KEY, TITLES
from fsft.wizard.widgets.memory_bar import bar, legend
from fsft.wizard.widgets.text import set_text

Line = Content


class PlanPane(Static):
    """Three lines under the steps, or a column beside them where there is room."""

    def show(self, outlook: Outlook, *, is_wide: bool) -> None:
        """The plan of the present answers."""
        width = max(10, (self.size.width or 80) - 4)
        lines = _column(outlook, width) if is_wide else _lines(outlook, width)
        set_text(self, Content("\n").join(lines), resizes=False)


def verdict(outlook: Outlook) -> Content:
    """In words whether it fits, and by which layout."""
    planning = outlook.planning
    if planning.plan is None:
        return _marked("$warning", "?", f"no plan: {planning.trouble}")
    best = planning.best
    if best is None:
        rejected = planning.closest or next(iter(planning.plan.search.rejected), None)
        why = rejected.reason if rejected else "there is no layout for these devices"
        return _marked("$error", "✗", f"does not fit: {why}")
    if best.fits != "yes":
        return _marked("$warning", "?", f"may fit: {best.layout.name}")
    return _marked("$success", "✓", f"fits: {best.layout.name}")


def _lines(outlook: Outlook, width: int) -> list[Line]:
    """Three lines."""
    planning, best = outlook.planning, outlook.planning.best
    first = verdict(outlook)
    if planning.plan is None or best is None:
        return [first, *_remedies(outlook, 1), _trouble(outlook)]
    room = planning.plan.cluster.accelerator.memory
    family = planning.plan.job.style.family
    memory = memory_range(best.memory.device_total, family)
    used = f"  {gib(memory.low)} to {gib(memory.high)} of {gib(room)} GiB a device"
    return [
        Content.assemble(first, (used + _host(planning.plan, best, ", "), "$foreground")),
        bar(best.memory, room, family, min(width, 60)),
        _trouble(outlook) or Content(" · ").join(_costs(outlook, best)),
    ]


def _column(outlook: Outlook, width: int) -> list[Line]:
    planning, best = outlook.planning, outlook.planning.best
    lines: list[Line] = [verdict(outlook), Content("")]
    if planning.plan is None or best is None:
        return [*lines, *_remedies(outlook, 4), Content(""), _trouble(outlook)]
    plan = planning.plan
    family, room = plan.job.style.family, plan.cluster.accelerator.memory
    memory = memory_range(best.memory.device_total, family)
    lines += [
        Content.from_markup("[b]Memory of a device[/b]"),
        bar(best.memory, room, family, width),
        Content(f"{gib(memory.low)} to {gib(memory.high)} of {gib(room)} GiB"),
        legend(best.memory),
        *([Content(host)] if (host := _host(plan, best)) else []),
        Content(""),
        Content.from_markup("[b]Time and cost[/b]"),
        *_costs(outlook, best),
        Content(""),
    ]
    if planning.open_plan and (freely := planning.open_plan.best):
        is_taken = freely.layout == best.layout
        why = why_best(planning.open_plan, freely) if is_taken else f"auto: {freely.layout.name}."
        lines.append(Content.styled(why, "dim"))
    lines += [Content.from_markup("[$warning]! $x[/]", x=text) for text in plan.warnings]
    return [*lines, Content(""), _trouble(outlook)]


def _host(plan: Plan, best: Candidate, before: str = "") -> str:
    """What offloading takes of a machine; empty where nothing leaves the devices."""
    if best.layout.offload_optimizer == "none":
        return ""
    return f"{before}{gib(host_bytes(best.memory, plan.cluster))} GiB of the host"


def _costs(outlook: Outlook, best: Candidate) -> list[Content]:
    """Each figure that is known, with its range where there is one."""
    plan, length = outlook.planning.plan, outlook.length
    if plan is None or best.time is None:
        name = plan.cluster.accelerator.name if plan else "the device"
        return [Content.styled(f"no time: the speed of {name} is not known; fsft calibrate", "dim")]
    step = time_range(best.time.seconds, plan.job.style.family)
    figures = [f"{step.low:.2f} to {step.high:.2f} s a step"]
    if length.days is not None:
        spread = time_range(length.days * 86400, plan.job.style.family)
        figures.append(f"{_time(spread.low)} to {_time(spread.high)}")
        if length.money is not None:
            figures.append(f"costs {length.money:,.2f}")
        if length.device_hours is not None:
            figures.append(f"{_amount(length.device_hours)} device hours")
    elif outlook.facts.measuring:
        figures.append("counting tokens …")
    else:
        figures.append("days: once tokens are known")
    speed = best.time.tokens_per_second_per_device * plan.cluster.num_devices
    figures.append(f"{format_count(speed)} tokens/s, MFU {best.time.mfu:.0%}")
    return [Content(figure) for figure in figures]


def _remedies(outlook: Outlook, number: int) -> list[Content]:
    """The cheapest changes that would help."""
    if outlook.planning.plan is None:
        return []
    if outlook.remedies is None:
        return [Content.styled("looking for what would help …", "dim")]
    if not outlook.remedies:
        return [Content.styled("nothing that fsft knows to change would help", "dim")]
    found = [
        Content.from_markup(
            "[b]would fit:[/b] $change$only, $gib GiB",
            change=remedy.change,
            only=" (fsft run cannot yet)" if _is_for_later(remedy) else "",
            gib=gib(remedy.candidate.memory.device_total),
        )
        for remedy in sorted(outlook.remedies, key=_is_for_later)
    ]
    return found[:number]


def _is_for_later(remedy: Remedy) -> bool:
    """Methods that are planned, but not trained yet."""
    return remedy.change.startswith("method.")


def _trouble(outlook: Outlook) -> Content:
    """What has to be answered first."""
    keys = [key for key in BY_KEY if outlook.problems.get(key)]
    if not keys:
        return Content("")
    more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
    question = BY_KEY[keys[0]]
    where = dict.fromkeys((TITLES[question.step], question.label))
    return _marked("$error", "✗", f"to answer: {', '.join(where)}{more}")


def _marked(colour: str, glyph: str, text: str) -> Content:
    return Content.from_markup(f"[bold {colour}]{glyph} $text[/]", text=text)


def _amount(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _time(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds > 2 * 86400 else format_duration(seconds)

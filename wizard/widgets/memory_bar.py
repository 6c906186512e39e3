"""What fills a device's memory, as a bar that needs no colour to be read."""

from typing import NamedTuple

from textual.content import Content

from fsft.recipes.planner.memory import Memory
from fsft.recipes.planner.ranges import memory_range
from fsft.recipes.units import format_gib

FREE = "$foreground 40%"
MARK = "┃"


class Part(NamedTuple):
    """A component in bytes, with its glyph and colour."""

    name: str
    num_bytes: float
    glyph: str
    colour: str


def parts_of(memory: Memory) -> list[Part]:
    """The components at the fullest moment; they add up to what the driver reports."""
    peak = memory.peak
    return [
        Part("weights", peak.weights, "█", "$primary"),
        Part("gradients", peak.gradients, "▓", "$secondary"),
        Part("optimizer", peak.optimizer, "▒", "$accent"),
        Part("activations", peak.activations, "▚", "$success"),
        Part("logits", peak.logits, "▞", "$warning"),
        Part("buffers", peak.buffers, "▄", "$error"),
        Part("framework", memory.device_total - peak.total, "░", "$foreground"),
    ]


def bar(memory: Memory, room: float, family: str, width: int) -> Content:
    """A bar of `width` cells for `room` bytes; ┃ marks the upper end of the range."""
    parts = parts_of(memory)
    whole = max(room, memory.device_total)
    mark = round(memory_range(memory.device_total, family).high / whole * width)
    runs: list[tuple[str, str]] = []
    start, filled = 0, 0.0
    for part in parts:
        filled += part.num_bytes
        end = round(filled / whole * width)
        runs.append((part.glyph * (end - start), part.colour))
        start = end
    # The range's upper end lies in what is free, or beyond the device.
    free = max(0, min(mark, width) - start)
    runs.append(("·" * free, FREE))
    if start <= mark < width:
        runs += [(MARK, "$foreground"), ("·" * (width - mark - 1), FREE)]
    return Content.assemble(*runs)


def legend(memory: Memory) -> Content:
    """Each component with its glyph and size; what is too small to see is left out."""
    rows = [
        Content.from_markup(
            f"[{part.colour}]{part.glyph * 2}[/] $name $size",
            name=f"{part.name:<12}",
            size=f"{format_gib(part.num_bytes):>11}",
        )
        for part in parts_of(memory)
        if part.num_bytes > 0.005 * memory.device_total
    ]
    return Content("\n").join(rows)

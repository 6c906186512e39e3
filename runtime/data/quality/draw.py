"""The quality of data as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsft.runtime.data.quality.result import Quality, SplitQuality

_COLOURS = {"train": "#1f5f99", "eval": "#d08a2e"}
_MOST_BARS = 8
_MOST_LABELS = 6
"""Of the bars of a histogram; more would overlap."""


def draw_quality(quality: Quality, files: Sequence[Path]) -> None:
    """Draw histograms and counts to each file in the format of its ending."""
    for file in files:
        file.write_bytes(_drawn(quality, file.suffix.removeprefix(".") or "png"))


def quality_svg(quality: Quality) -> str:
    """The same picture as an svg element, to stand in a page."""
    text = _drawn(quality, "svg").decode()
    return text[text.index("<svg") :]


def _drawn(quality: Quality, form: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    units = [length.unit for length in quality.splits[0].lengths]
    picture = io.BytesIO()
    # Text stays text in the svg: it can be read, searched and is a third of the size.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "fsft", "font.size": 9}):
        columns = 2 if len(units) == 2 else 3
        figure = Figure(figsize=(4.2 * columns, 6.4), layout="constrained")
        panels = list(figure.subplots(2, columns).flat)
        for panel, unit in zip(panels, units, strict=False):
            _histogram(panel, unit, quality.splits)
        rest = panels[len(units) :]
        _bars(rest[0], "language", {s.name: _shares(s.languages, s) for s in quality.splits}, "%")
        _bars(rest[1], "found, in % of samples", _found(quality), "%")
        for panel in rest[2:]:
            panel.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        if len(labels) > 1:
            panels[0].legend(handles, labels, frameon=False)
        figure.savefig(
            picture, format=form, dpi=160, metadata={"Date": None} if form == "svg" else {}
        )
    return picture.getvalue()


def _histogram(axes: Any, unit: str, splits: Sequence[SplitQuality]) -> None:
    """Shares, so that a small split can be seen beside a large one."""
    found = {s.name: length for s in splits for length in s.lengths if length.unit == unit}
    starts = sorted({start for length in found.values() for start, _, _ in length.bins})
    labels = {start: f"{start:,}" for start in starts}
    series = {
        name: {labels[start]: 100 * number / length.num_samples for start, _, number in length.bins}
        for name, length in found.items()
    }
    width = 0.85 / len(series)
    for index, (name, shares) in enumerate(series.items()):
        places = [i + (index - (len(series) - 1) / 2) * width for i in range(len(starts))]
        heights = [shares.get(labels[start], 0.0) for start in starts]
        axes.bar(places, heights, width, color=_COLOURS[name], label=name)
    step = -(-len(starts) // _MOST_LABELS)
    # A few bars would else be as wide as the panel.
    axes.set_xlim(-0.6, max(len(starts), _MOST_LABELS) - 0.4)
    axes.set_xticks(range(0, len(starts), step), list(labels.values())[::step])
    axes.set_title(f"{unit} a sample", loc="left", fontsize=10)
    axes.set_xlabel("a bar: from so many to less than twice as many")
    axes.set_ylabel("% of samples")
    _plain(axes, "y")


def _bars(axes: Any, title: str, series: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """The largest bars, one below the other, with their numbers."""
    every = {name for values in series.values() for name in values}
    most = {name: max(values.get(name, 0.0) for values in series.values()) for name in every}
    names = sorted(every, key=lambda name: (-most[name], name))[:_MOST_BARS]
    height = 0.8 / len(series)
    for index, (split, values) in enumerate(series.items()):
        places = [i + (index - (len(series) - 1) / 2) * height for i in range(len(names))]
        widths = [values.get(name, 0.0) for name in names]
        bars = axes.barh(places, widths, height, color=_COLOURS[split])
        axes.bar_label(bars, [f"{w:.3g}{unit}" if w else "" for w in widths], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, loc="left", fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    if not names:
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", transform=axes.transAxes)
    _plain(axes, "x")


def _found(quality: Quality) -> dict[str, dict[str, float]]:
    """Duplicates, contamination and hints, as shares of the samples of each split."""
    found = {}
    for split in quality.splits:
        counts = {"exact duplicates": split.num_exact, "near duplicates": split.num_near}
        if split.name == "eval" and quality.contamination:
            counts["seen in training"] = quality.contamination.num_samples
        named = {name: number for name, number in (counts | split.hints).items() if number}
        found[split.name] = _shares(named, split)
    return found


def _shares(counts: Mapping[str, int], split: SplitQuality) -> dict[str, float]:
    return {name: 100 * number / max(1, split.num_samples) for name, number in counts.items()}


def _plain(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

"""The loss curve as a picture."""

from collections.abc import Sequence
from pathlib import Path

_SMOOTHING = 0.8
"""Weight of the past in the bold line, from its second point on."""
_RAW, _BOLD, _EVAL = "#9bb8d3", "#1f5f99", "#c2571a"


def plot_loss(
    curve: Sequence[tuple[int, float]],
    files: Sequence[Path],
    eval_curve: Sequence[tuple[int, float]] = (),
) -> None:
    """Draw loss against step, raw and smoothed, to each file in the format of its ending.

    `eval_curve`: the loss over the eval data, drawn with its points.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    steps, losses = zip(*curve, strict=True)
    # Text stays text in the svg: it can be read, searched and is a third of the size.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "fsft"}):
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(steps, losses, color=_RAW, linewidth=1, label="each step")
        if len(steps) > 20:
            axes.plot(steps, smoothed(losses), color=_BOLD, linewidth=2, label="smoothed")
        if eval_curve:
            axes.plot(*zip(*eval_curve, strict=True), "o-", color=_EVAL, markersize=4, label="eval")
        if len(axes.lines) > 1:
            axes.legend(frameon=False)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for file in files:
            figure.savefig(file, dpi=160)


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average, without the pull of a zero start."""
    average, weight, result = 0.0, 0.0, []
    for value in values:
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        result.append(average / weight)
    return result

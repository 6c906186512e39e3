"""A run's state as lines of text."""

from textual.content import Content

from fsft.recipes.events import EvalLoss
from fsft.recipes.lock import Expected, expected_of
from fsft.recipes.run_files import RunFiles
from fsft.recipes.units import format_count, format_duration, format_gib
from fsft.wizard.monitor.run_state import is_alive
from fsft.wizard.monitor.snapshot import Snapshot, StageState
from fsft.wizard.widgets.text import visible

_GLYPHS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold $primary"),
    "done": ("✓", "$success"),
    "skipped": ("·", "dim"),
    "failed": ("✗", "$error"),
}
BAR_WIDTH = 20


def head(snapshot: Snapshot, run: RunFiles, now: float) -> Content:
    """Which run it is and how it stands."""
    word, colour = _verdict(snapshot, run)
    until = now if word == "running" else snapshot.last_event
    elapsed = format_duration(max(0.0, until - snapshot.started)) if snapshot.started else ""
    return Content.from_markup(
        f"[bold $primary]$name[/]  [bold {colour}]$word[/]  [dim]$elapsed  $path[/]",
        name=snapshot.name or run.path.name,
        word=word,
        elapsed=elapsed,
        path=str(run.path),
    )


def stage_lines(snapshot: Snapshot, now: float) -> list[Content]:
    """A line for each stage, with a bar and the time left for the one that is being done."""
    return [_stage_line(stage, snapshot, now) for stage in snapshot.stages]


def figure_lines(snapshot: Snapshot, expected: Expected) -> list[Content]:
    """What training reaches, beside what was planned."""
    train, step = snapshot.train, snapshot.step
    if train is None:
        return [Content.styled("training has not begun", "dim")]
    rows = [("on", f"{train.num_processes} × {train.device}")]
    if step is not None:
        rows += [
            ("step", f"{step.step} of {train.total_steps}"),
            ("loss", f"{step.loss:.4f}" if abs(step.loss) < 1e6 else f"{step.loss:.3g}"),
            ("gradient norm", f"{step.grad_norm:.3g}"),
            ("learning rate", f"{step.learning_rate:.3g}"),
            ("step takes", _beside(_seconds(snapshot.seconds_per_step), _planned(expected))),
        ]
    if snapshot.eval_loss is not None:
        rows.append(("eval loss", _eval_loss(snapshot.eval_loss, snapshot.best)))
    if snapshot.tokens_per_second is not None:
        rows.append(("tokens/s", format_count(snapshot.tokens_per_second)))
    if snapshot.mfu is not None:
        rows.append(("MFU", f"{snapshot.mfu:.1%} of measured peak"))
    if snapshot.memory:
        planned = format_gib(expected.memory_high) if expected.memory_high else ""
        rows.append(("memory", _beside(format_gib(snapshot.memory), planned)))
    if snapshot.checkpoint:
        rows.append(("checkpoint", f"step {snapshot.checkpoint.step}"))
    return [
        Content.from_markup("[dim]$name[/] $value", name=f"{name:<14}", value=value)
        for name, value in rows
    ]


def text_lines(snapshot: Snapshot, run: RunFiles, now: float) -> list[str]:
    """All of it without colour, for where there is no terminal."""
    lines = [head(snapshot, run, now), *stage_lines(snapshot, now)]
    lines += figure_lines(snapshot, expected_of(run.lock_file))
    return [visible(line.plain.rstrip()) for line in lines] + [*map(visible, snapshot.messages)]


def _verdict(snapshot: Snapshot, run: RunFiles) -> tuple[str, str]:
    if snapshot.verdict:
        colours = {"done": "$success", "stopped": "$warning", "failed": "$error"}
        return snapshot.verdict, colours[snapshot.verdict]
    if not snapshot.started:
        return "not started", "$foreground"
    if is_alive(run):
        return "running", "$primary"
    return "gone without a last word; the same fsft run goes on", "$error"


def _stage_line(stage: StageState, snapshot: Snapshot, now: float) -> Content:
    glyph, style = _GLYPHS[stage.state]
    took = format_duration(stage.seconds) if stage.state == "done" else ""
    text = Content.from_markup(
        f"[{style}]{glyph} $name[/] [dim]$took[/] $note",
        name=f"{stage.stage:<9}",
        took=f"{took:>9}",
        note=stage.note if stage.state != "running" else "",
    )
    if stage.state != "running":
        return text
    parts = [stage.note] if stage.note else []
    if stage.total:
        filled = min(BAR_WIDTH, stage.done * BAR_WIDTH // stage.total)
        parts.append(f"{'━' * filled}{'╌' * (BAR_WIDTH - filled)} {stage.done}/{stage.total}")
    elif stage.done:
        parts.append(f"{stage.done}")
    left = snapshot.training_left if stage.stage == "train" else stage.seconds_left(now)
    if left is not None:
        parts.append(f"{format_duration(left)} left")
    return Content.assemble(text, (" ".join(parts), "$primary"))


def _eval_loss(last: EvalLoss, best: EvalLoss | None) -> str:
    lowest = f", lowest {best.loss:.4f}" if best and best.step != last.step else ""
    return f"{last.loss:.4f}{lowest}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _planned(expected: Expected) -> str:
    return _seconds(expected.seconds_per_step) if expected.seconds_per_step else ""


def _beside(measured: str, planned: str) -> str:
    return f"{measured}, plan {planned}" if planned else measured

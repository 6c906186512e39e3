"""Samples and counts on the screen."""

import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.recipes.units import format_count
from fsft.runtime.data.look import DataLook
from fsft.runtime.data.shown import ShownSample

# Also what turns the direction of writing, and what has no width: both hide what a text says.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def show_look(seen: DataLook, console: Console) -> None:
    """What each file holds, and the first samples with what is learned."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file", header_style="dim", overflow="fold")
    for column in ("shape", "rows", "unusable", "tokens"):
        table.add_column(column, justify="right", header_style="dim")
    for file in seen.files:
        about = "≈ " if file.error else ""
        table.add_row(
            Text(_visible(file.path)),
            file.format,
            f"{about}{round(file.num_rows):,}",
            f"{file.num_unusable} of {file.num_sampled:,}" if file.num_unusable else "",
            _tokens(file.num_tokens, file.error),
        )
    console.print(table)
    for file in seen.files:
        if file.is_from_start:
            note = f"{file.path} was read from its beginning: the rest is taken to be like it."
            console.print(Text(note, style="dim"), soft_wrap=True)
        if file.first_unusable:
            console.print(
                Text(f"! {_visible(file.first_unusable)}", style="yellow"), soft_wrap=True
            )
    if seen.num_tokens is not None:
        console.print(f"[bold]{_tokens(seen.num_tokens, seen.error)} tokens[/bold] an epoch\n")
    for warning in seen.warnings:
        console.print(Text(f"! {_visible(warning)}", style="yellow"))
    if not seen.samples:
        return
    marks = not console.is_terminal or console.no_color
    console.print(_legend(marks=marks))
    path = ""
    for sample in seen.samples:
        if sample.path != path:
            path = sample.path
            console.print(Text(_visible(path), style="dim"))
        console.print(_sample(sample, marks=marks), soft_wrap=True)


def _legend(*, marks: bool) -> Text:
    if marks:
        return Text("The model learns what stands between ⟦ and ⟧; the rest it is given.")
    text = Text("The model learns what is ")
    text.append("green", style="green")
    text.append("; what is ")
    text.append("dim", style="dim")
    return text.append(" it is given.")


def _tokens(number: float | None, error: float) -> str:
    if number is None:
        return "not counted"
    return (
        f"{format_count(float(number))} ± {format_count(error)}"
        if error
        else format_count(float(number))
    )


def _sample(sample: ShownSample, *, marks: bool) -> Text:
    """What is learned is green, or stands between ⟦ ⟧ where there is no colour."""
    notes = [f"line {sample.line}"] if sample.line else []
    if sample.num_tokens is not None:
        notes.append(f"{sample.num_tokens} tokens")
    if sample.about:
        notes.append(_visible(sample.about))
    text = Text(f"{', '.join(notes)}: ", style="bold")
    for segment, learned in sample.segments:
        shown = _visible(segment)
        text.append(
            f"⟦{shown}⟧" if learned and marks else shown,
            style="not bold green" if learned else "not bold dim",
        )
    return text


def _visible(text: str) -> str:
    """Text of others on one line, without anything that a terminal would obey."""
    return _CONTROL.sub("·", text.replace("\r\n", "\n").replace("\n", "⏎ ").expandtabs(4))

"""Samples and counts on the screen."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.recipes.units import format_count
from fsft.runtime.data.look import DataLook, ShownSample


def show_look(seen: DataLook, console: Console) -> None:
    """What each file holds, and the first samples with what is learned."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file", header_style="dim", overflow="fold")
    for column in ("shape", "rows", "unusable", "tokens"):
        table.add_column(column, justify="right", header_style="dim")
    for file in seen.files:
        about = "≈ " if file.error else ""
        table.add_row(
            Text(file.path),
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
    if seen.num_tokens is not None:
        console.print(f"[bold]{_tokens(seen.num_tokens, seen.error)} tokens[/bold] an epoch\n")
    is_coloured = console.is_terminal and not console.no_color
    for sample in seen.samples:
        console.print(_sample(sample, marks=not is_coloured), soft_wrap=True)


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
    length = "" if sample.num_tokens is None else f"{sample.num_tokens} tokens: "
    text = Text(length, style="bold")
    for segment, learned in sample.segments:
        shown = f"⟦{segment}⟧" if learned and marks else segment
        text.append(
            shown.replace("\n", "⏎ "), style="not bold green" if learned else "not bold dim"
        )
    return text

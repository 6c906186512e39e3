"""A data set on the screen."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.runtime.data.info import DataInfo

_MOST_FILES = 32
"""Files that are listed; more say nothing new."""


def print_info(info: DataInfo, path: Path, console: Console) -> None:
    """The totals, how they came about, the columns, and the files."""
    console.print(Text(str(path), style="bold"), soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("samples", f"{info.samples:,}")
    if info.rows != info.samples:
        facts.add_row("rows", f"{info.rows:,}")
    if info.tokens is not None:
        learned = info.learned_tokens
        share = "" if learned is None else f", {learned:,} learned"
        facts.add_row("tokens", f"{info.tokens:,}{share}")
    facts.add_row("partitions", str(info.partitions))
    facts.add_row("bytes", f"{sum(file.bytes for file in info.files):,}")
    columns = (f"{name} ({kind})" for name, kind in info.columns.items())
    facts.add_row("columns", Text(", ".join(columns)))
    for name, value in info.made.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        facts.add_row("made by" if name == "by" else name, Text(shown))
    console.print(facts)
    console.print()
    console.print(_files(info))
    if len(info.files) > _MOST_FILES:
        console.print(f"… and {len(info.files) - _MOST_FILES:,} more files", style="dim")


def _files(info: DataInfo) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("file", header_style="dim", overflow="fold")
    headers = ["rows", "tokens", "bytes"] if info.tokens is not None else ["rows", "bytes"]
    for header in headers:
        table.add_column(header, justify="right", header_style="dim", no_wrap=True)
    table.add_column("sha256", header_style="dim", no_wrap=True)
    for file in info.files[:_MOST_FILES]:
        tokens = [] if info.tokens is None else [f"{file.tokens or 0:,}"]
        numbers = [f"{file.rows:,}", *tokens, f"{file.bytes:,}"]
        table.add_row(Text(file.name), *numbers, file.sha256[:12])
    return table

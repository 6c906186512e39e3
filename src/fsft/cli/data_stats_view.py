"""The quality of data on the screen."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsft.runtime.data.quality.duplicates import Pair
from fsft.runtime.data.quality.result import Quality, SplitQuality

_BAR = 32
"""Characters of the longest bar."""
_MOST_LANGUAGES = 8
_MOST_EXAMPLES = 5
"""Of each kind that are listed here; --json and --html have more."""


def print_quality(quality: Quality, console: Console) -> None:
    """Each split with its histograms and findings, then what evaluation and training share."""
    for split in quality.splits:
        part = "" if split.is_whole else ", the first ones of each file"
        console.print(Text(f"{split.name}: {split.num_samples:,} samples{part}", style="bold"))
        _print_lengths(split, console)
        languages = list(split.languages.items())[:_MOST_LANGUAGES]
        _print_bars("language", languages, split.num_samples, console)
        _print_findings(split, console)
    _print_contamination(quality, console)


def _print_lengths(split: SplitQuality, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("a sample", header_style="dim")
    for column in ("least", "median", "mean", "95% up to", "most"):
        table.add_column(column, justify="right", header_style="dim")
    for length in split.lengths:
        few = "" if length.num_samples == split.num_samples else f", first {length.num_samples:,}"
        numbers = (length.least, length.median, round(length.mean), length.p95, length.most)
        table.add_row(f"{length.unit}{few}", *(f"{number:,}" for number in numbers))
    console.print(table)
    for length in split.lengths:
        bars = [(f"{start:,}…{end - 1:,}", number) for start, end, number in length.bins]
        _print_bars(length.unit, bars, length.num_samples, console)


def _print_bars(title: str, bars: list[tuple[str, int]], total: int, console: Console) -> None:
    """A bar of blocks for each number, as long as its share of the largest."""
    if not bars:
        return
    most = max(number for _, number in bars)
    table = Table(box=None, pad_edge=False)
    table.add_column(title, justify="right", header_style="dim")
    table.add_column("samples", justify="right", header_style="dim")
    table.add_column("", no_wrap=True)
    for name, number in bars:
        bar = "█" * round(_BAR * number / most) or ("▏" if number else "")
        table.add_row(name, f"{number:,}", Text(f"{bar} {number / total:.1%}"))
    console.print()
    console.print(table)


def _print_findings(split: SplitQuality, console: Console) -> None:
    console.print()
    console.print(f"duplicates: {split.num_exact:,} exact, {split.num_near:,} near")
    for pair in split.duplicates[:_MOST_EXAMPLES]:
        _print_pair(pair, "repeats", console)
    for kind, number in split.hints.items():
        console.print(Text(f"{kind}: in {number:,} samples", style="yellow"))
        findings = [finding for finding in split.findings if finding.kind == kind]
        for finding in findings[:_MOST_EXAMPLES]:
            console.print(Text(f"  {finding.place} {finding.shown}", style="dim"), soft_wrap=True)
    if not split.hints:
        console.print("no hints at personal data or secrets")
    console.print()


def _print_contamination(quality: Quality, console: Console) -> None:
    shared = quality.contamination
    if shared is None:
        console.print("no evaluation data", style="dim")
        return
    console.print(
        Text(
            f"evaluation samples seen in training: {shared.num_samples:,} ({shared.num_exact:,} "
            f"exactly, {shared.num_near:,} nearly, {shared.num_grams:,} in long passages)",
            style="bold yellow" if shared.num_samples else "bold",
        ),
        soft_wrap=True,
    )
    for pair in shared.examples[:_MOST_EXAMPLES]:
        _print_pair(pair, "is in", console)


def _print_pair(pair: Pair, verb: str, console: Console) -> None:
    nearly = "" if pair.is_exact else ", nearly"
    console.print(Text(f"  {pair.place} {verb} {pair.of}{nearly}", style="dim"), soft_wrap=True)

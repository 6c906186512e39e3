"""`fsft data tokenize`: raw files to token ids, without a run."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fsft.cli.options import JsonOption, RecipeArgument, SetOption


def tokenize(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to write.")],
    set_: SetOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that holds something else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the token ids of a recipe's data as parquet, with what is learned, and counts.

    Stopped or killed, the same command goes on. Done before, it does nothing.
    """
    from fsft.cli.run import stop_on_signals
    from fsft.recipes.files import read_recipe
    from fsft.recipes.inputs import missing_inputs, resolve_paths
    from fsft.recipes.problems import Refused
    from fsft.recipes.shipped import find_recipe
    from fsft.runtime.data.token_folder import write_token_folder

    path = find_recipe(recipe)
    read = read_recipe(path, set_ or [])
    if problems := missing_inputs(read, path.parent):
        raise Refused(*problems)
    resolved = resolve_paths(read, path.parent)
    with _bar() as on_progress, stop_on_signals():
        info = write_token_folder(resolved, out, overwrite=overwrite, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **asdict(info)}, ensure_ascii=False))
    else:
        typer.echo(_text(out, info.made))


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, in bytes of input, with the time that is left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(file=sys.stderr)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        bar = bars.add_task("prepare", total=None)
        yield lambda task, done, total: bars.update(
            bar, description=task, completed=done, total=total
        )


def _text(out: Path, made: dict[str, Any]) -> str:
    from fsft.recipes.units import format_count
    from fsft.runtime.data.left_out import left_out
    from fsft.runtime.data.samples import SourceCounts

    lines = [f"{out}: {format_count(made['vocab_size'])} token ids in the vocabulary"]
    for split, told in made["splits"].items():
        used = sum(source["num_used"] for source in told["sources"])
        read = sum(source["num_read"] for source in told["sources"])
        lines.append(
            f"  {split}: {format_count(told['num_tokens'])} tokens, "
            f"{format_count(told['num_label_tokens'])} learned, {used:,} samples of {read:,} rows, "
            f"{told['num_files']} files, by {', '.join(told['engines'])}"
        )
        lines += [f"  {trouble}" for trouble in told["troubles"]]
        counts = [SourceCounts(**source) for source in told["sources"]]
        lines += [f"  {c.path}: left out {reasons}" for c in counts if (reasons := left_out(c))]
    return "\n".join(lines)

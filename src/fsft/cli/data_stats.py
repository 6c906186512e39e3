"""`fsft data stats`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fsft.cli.options import JsonOption, RecipeArgument, SetOption


def stats(
    recipe: RecipeArgument,
    set_: SetOption = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that needs no other file.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw to a .png or .svg file.")
    ] = None,
    max_samples: Annotated[
        int | None, typer.Option(min=1, help="Samples to look at of each split.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for duplicates, leaks into the evaluation, personal data and secrets; show lengths."""
    from fsft.cli.row_progress import count_progress
    from fsft.recipes.files import read_recipe
    from fsft.recipes.inputs import missing_inputs, resolve_paths
    from fsft.recipes.problems import RecipeError, Refused
    from fsft.recipes.shipped import find_recipe
    from fsft.runtime.data.quality.check import MOST_SAMPLES, check_quality

    if png and png.suffix not in {".png", ".svg"}:
        raise RecipeError(f"--png: `{png}` is neither a .png nor a .svg file.")
    path = find_recipe(recipe)
    read = resolve_paths(read_recipe(path, set_ or []), path.parent)
    if problems := [p for p in missing_inputs(read, Path()) if p.key.startswith("data")]:
        raise Refused(*problems)
    with count_progress() as tell:
        quality = check_quality(read, max_samples or MOST_SAMPLES, tell)
    if png:
        from fsft.runtime.data.quality.draw import draw_quality

        png.parent.mkdir(parents=True, exist_ok=True)
        draw_quality(quality, [png])
    if html:
        from fsft.runtime.data.quality.page import quality_page
        from fsft.runtime.run_directory import write_text

        write_text(html, quality_page(quality, read.name))
    if as_json:
        document = {**asdict(quality), "summary": asdict(quality.summary())}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    from rich.console import Console

    from fsft.cli.data_stats_view import print_quality

    print_quality(quality, Console(highlight=False))

"""`fsft data`: look at what a model would learn."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsft.cli.data_info import info
from fsft.cli.data_repartition import repartition
from fsft.cli.data_shuffle import shuffle
from fsft.cli.data_stats import stats
from fsft.cli.data_tokenize import tokenize
from fsft.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from fsft.recipes.schema import Recipe
    from fsft.runtime.data.look import DataLook

data_app = typer.Typer(no_args_is_help=True, help="Look at data, and put it in order.")
data_app.command()(shuffle)
data_app.command()(repartition)
data_app.command()(info)
data_app.command()(stats)
data_app.command()(tokenize)


@data_app.callback()
def data() -> None:
    """Look at data, and put it in order."""


@data_app.command()
def show(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, the name of a shipped one, or - to read one.")
    ],
    set_: SetOption = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Samples to show; of each file one at least.")
    ] = 3,
    source: Annotated[
        int, typer.Option(min=0, help="Look at one file alone: its number in the recipe, from 1.")
    ] = 0,
    quality: Annotated[
        bool,
        typer.Option("--quality", help="With --json: main figures of fsft data stats too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show samples as the model will see them, what is learned, and how many tokens there are."""
    from fsft.recipes.inputs import missing_inputs
    from fsft.recipes.problems import Refused
    from fsft.runtime.data.look import look

    read = _only(_read(recipe, set_ or []), source)
    if problems := [p for p in missing_inputs(read, Path()) if p.key.startswith("data")]:
        raise Refused(*problems)
    seen = look(read, samples)
    if as_json:
        document = {**asdict(seen), "num_tokens": seen.num_tokens, "error": seen.error}
        if quality:
            document["quality"] = _quality(read)
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        _show(seen)
    if seen.trouble and not as_json:
        raise Refused(seen.trouble)


def _quality(recipe: "Recipe") -> dict[str, Any] | None:
    """The main figures of the first samples; None where the packages for it are not installed."""
    from importlib.util import find_spec

    from fsft.runtime.data.look import MOST_ROWS

    if not all(map(find_spec, ("py3langid", "rensa"))):
        return None
    from fsft.runtime.data.quality.check import check_quality

    return asdict(check_quality(recipe, MOST_ROWS).summary())


def _read(recipe: str, overrides: list[str]) -> "Recipe":
    """The recipe with absolute paths."""
    from fsft.recipes.files import parse_recipe, read_recipe
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.shipped import find_recipe

    if recipe == "-":
        return resolve_paths(parse_recipe(sys.stdin.read(), overrides=overrides), Path())
    path = find_recipe(recipe)
    return resolve_paths(read_recipe(path, overrides), path.parent)


def _only(recipe: "Recipe", source: int) -> "Recipe":
    """The recipe with one of its training files alone; 0 keeps all."""
    from fsft.recipes.problems import Refused

    if not source:
        return recipe
    train = recipe.data.train
    if source > len(train):
        raise Refused(f"there is no source {source}: the recipe has {len(train)} to train on.")
    data = recipe.data.model_copy(update={"train": [train[source - 1]]})
    return recipe.model_copy(update={"data": data})


def _show(seen: "DataLook") -> None:
    from rich.console import Console

    from fsft.cli.data_view import show_look

    show_look(seen, Console(highlight=False))

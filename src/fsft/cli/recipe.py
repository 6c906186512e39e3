"""`fsft recipe`: look at recipes, begin one, compare two."""

import json
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from fsft.cli.options import JsonOption, RecipeArgument

if TYPE_CHECKING:
    from fsft.recipes.schema import Recipe

recipe_app = typer.Typer(no_args_is_help=True, help="List, show, begin and compare recipes.")


@recipe_app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """Name the recipes that come with fsft."""
    from fsft.recipes.files import read_recipe
    from fsft.recipes.shipped import shipped_recipes

    found = {name: read_recipe(path).description for name, path in shipped_recipes().items()}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        width = max(map(len, found))
        for name, description in found.items():
            typer.echo(f"{name:<{width}}  {description}")


@recipe_app.command()
def show(recipe: RecipeArgument, as_json: JsonOption = False) -> None:
    """Print a recipe with every default written out and explained."""
    from fsft.recipes.schema import to_document
    from fsft.recipes.writing import to_toml

    found = _read(recipe)
    if as_json:
        typer.echo(json.dumps(to_document(found), ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.syntax import Syntax

        text = Syntax("", "toml", theme="ansi_dark").highlight(to_toml(found))
        Console().print(text, soft_wrap=True, end="")
    else:
        typer.echo(to_toml(found), nl=False)


@recipe_app.command()
def new(
    path: Annotated[Path, typer.Argument(help="The file to write; - writes to the output.")],
    source: Annotated[str, typer.Option("--from", help="The recipe to begin with.")] = "quickstart",
) -> None:
    """Write a recipe to begin with, every key explained. Never overwrites a file."""
    from fsft.recipes.files import parse_recipe
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.problems import Problem, RecipeError
    from fsft.recipes.shipped import find_recipe
    from fsft.recipes.writing import to_toml, write_new_file

    # Relative paths would mean something else at the new place.
    found = resolve_paths(_read(source), find_recipe(source).parent, keep_library=True)
    if str(path) == "-":
        typer.echo(to_toml(found), nl=False)
        return
    text = to_toml(found.model_copy(update={"name": path.stem}))
    parse_recipe(text, file=str(path))
    try:
        write_new_file(path, text)
    except FileExistsError:
        raise RecipeError(
            Problem(
                file=str(path),
                reason="exists already, and is left as it is.",
                example=f"fsft recipe new {quote(str(path.with_stem(path.stem + '-2')))}",
            )
        ) from None
    except OSError as error:
        raise RecipeError(
            Problem(file=str(path), reason=f"cannot be written: {error.strerror}.")
        ) from None
    typer.echo(f"Wrote {path}. Edit it, then: fsft check {quote(str(path))}")


@recipe_app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, by which editors complete and check it."""
    from fsft.recipes.json_schema import recipe_json_schema

    typer.echo(recipe_json_schema(), nl=False)


@recipe_app.command()
def diff(before: RecipeArgument, after: RecipeArgument, as_json: JsonOption = False) -> None:
    """Say what differs between two recipes, and which stages would be done again."""
    from dataclasses import asdict

    from fsft.recipes.diff import diff_recipes

    changes = diff_recipes(_read(before), _read(after))
    if as_json:
        typer.echo(json.dumps([asdict(change) for change in changes], ensure_ascii=False))
    else:
        typer.echo("\n".join(map(str, changes)) or "No difference.")


def _read(name: str) -> "Recipe":
    from fsft.recipes.files import read_recipe
    from fsft.recipes.shipped import find_recipe

    return read_recipe(find_recipe(name))

"""Arguments that several commands share."""

from typing import Annotated

import typer

RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a shipped recipe.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

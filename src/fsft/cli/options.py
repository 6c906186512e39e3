"""Arguments that several commands share."""

import sys
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


def has_terminal() -> bool:
    """Whether a person can be asked and shown something; a closed stream is none."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

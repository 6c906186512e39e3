"""The `fsft` command: what it offers, and how its errors reach a person."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fsft import __version__
from fsft.cli.answer import generate, serve
from fsft.cli.check import check
from fsft.cli.data import data_app
from fsft.cli.export import export_app
from fsft.cli.hardware import calibrate, hardware
from fsft.cli.plan import plan
from fsft.cli.recipe import recipe_app
from fsft.cli.run import run
from fsft.cli.watch import watch
from fsft.cli.wizard import wizard
from fsft.recipes.problems import ExitCode, FsftError, Problem, missing_package

EVERYTHING = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For a command that reads its own options."""

app = typer.Typer(
    name="fsft",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Begin with: fsft run quickstart",
)
app.command(context_settings=EVERYTHING)(wizard)
app.command()(check)
app.command()(plan)
app.command()(run)
app.command()(watch)
app.command()(hardware)
app.command()(calibrate)
app.command()(generate)
app.command()(serve)
app.add_typer(recipe_app, name="recipe")
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")


def main() -> None:
    """Run the command line; every error becomes a message and an exit code."""
    try:
        app(standalone_mode=True)
    except FsftError as error:
        show_problems(error.problems)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
    except ModuleNotFoundError as error:
        refusal = missing_package(error)
        show_problems(refusal.problems)
        sys.exit(refusal.exit_code)
    except OSError as error:
        show_problems([f"{error.filename or 'a file'}: {error.strerror}."])
        sys.exit(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001 - the last place that can say it kindly
        show_problems([_unexpected(error)])
        sys.exit(ExitCode.FAILED)


def show_problems(problems: Iterable[Problem | str]) -> None:
    """One problem a line, to stderr."""
    console = Console(stderr=True, highlight=False)
    for problem in problems:
        console.print(Text.assemble(("✗ ", "bold red"), str(problem)), soft_wrap=True)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fsft {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Fine-tune a language model from a recipe: check it, run it, ask the result."""


def _unexpected(error: Exception) -> str:
    """A fault of fsft itself: where the details are, for whoever mends it."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="fsft-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    return (
        f"fsft failed in a way it should not ({type(error).__name__}: {error}). "
        f"Please report it with {file.name}."
    )

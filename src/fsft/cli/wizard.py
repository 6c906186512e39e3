"""`fsft wizard`: ask, show, and write a recipe; on a terminal, in a browser, or by flags alone."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from fsft.cli.options import has_terminal

if TYPE_CHECKING:
    from fsft.wizard.draft import Draft
    from fsft.wizard.facts import Facts


def wizard(context: typer.Context) -> None:
    """Ask about model, data, hardware and budget, show what fits, and write a recipe."""
    options = _parser().parse_args(context.args)
    if options.web is not None:
        _serve(options, context.args)
        return
    draft = _draft(options)
    if options.yes or not _is_seen():
        _write(options, draft)
    else:
        _ask(options, draft)


def _is_seen() -> bool:
    """There is a terminal, or a browser through textual-serve, which brings a driver of its own."""
    return has_terminal() or "TEXTUAL_DRIVER" in os.environ


def _parser() -> argparse.ArgumentParser:
    """One flag for each question, out of the wizard's own table of questions."""
    from fsft.wizard.questions import QUESTIONS, STEPS, TITLES

    parser = _Parser(
        prog="fsft wizard",
        description=wizard.__doc__,
        epilog="Without a terminal, flags are the answers: missing ones are named, exit code 2.",
        allow_abbrev=False,
    )
    parser.add_argument("recipe", nargs="?", type=Path, help="A recipe to change.")
    parser.add_argument("--yes", action="store_true", help="Accept every default; ask nothing.")
    parser.add_argument(
        "--overwrite", action="store_true", help="Write over a file that is there already."
    )
    parser.add_argument("--start-over", action="store_true", help="Forget the kept draft.")
    parser.add_argument(
        "--theme", choices=["dark", "light", "ansi"], default="dark", help="The colours."
    )
    parser.add_argument(
        "--web",
        nargs="?",
        type=int,
        const=8700,
        metavar="PORT",
        help="Serve the wizard to a browser on this machine.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON for programs.")
    for step in STEPS:
        group = parser.add_argument_group(TITLES[step])
        for question in QUESTIONS:
            if question.step == step:
                forms = ", ".join(question.choices) or question.forms
                text = f"{question.meaning} {f'({forms})' if forms else ''}".replace("%", "%%")
                flags = ["-o", question.flag] if question.key == "out" else [question.flag]
                group.add_argument(
                    *flags, dest=question.key, metavar=_metavar(question.key), help=text
                )
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Told as fsft tells all problems."""
        from fsft.recipes.problems import Problem, RecipeError

        raise RecipeError(
            Problem(file="fsft wizard", reason=f"{message}.", example="fsft wizard --help")
        )


def _metavar(key: str) -> str:
    return key.rpartition(".")[2].upper()


def _draft(options: argparse.Namespace) -> "Draft":
    from fsft.recipes.problems import Problem, RecipeError
    from fsft.wizard.draft import Draft, open_recipe
    from fsft.wizard.questions import BY_KEY, LENGTHS, LIMITS

    given = {key: text for key in BY_KEY if (text := getattr(options, key)) is not None}
    # argparse takes "--flag=--" for an empty list.
    if wrong := [key for key, text in given.items() if not isinstance(text, str)]:
        raise RecipeError(Problem(file=BY_KEY[wrong[0]].flag, reason="`--` is no answer."))
    lengths = [key for key in LENGTHS if key in given]
    if len(lengths) > 1 and not set(lengths) <= set(LIMITS):
        flags = ", ".join(BY_KEY[key].flag for key in lengths)
        raise RecipeError(Problem(file=flags, reason="only one of them can be given."))
    draft = Draft(opened=open_recipe(_own(options.recipe)) if options.recipe else None)
    for key, text in given.items():
        draft = draft.answer(key, text)
    return draft


def _own(recipe: Path) -> Path:
    """The recipe, if it is one that a person may change; raises RecipeError for a shipped one."""
    from fsft.recipes.problems import Problem, RecipeError
    from fsft.recipes.shipped import is_file, shipped_recipes

    if str(recipe) in shipped_recipes() and not is_file(recipe):
        raise RecipeError(
            Problem(
                file=str(recipe),
                reason="ships with fsft; make one of your own out of it.",
                example=f"fsft recipe new my-run.toml --from {recipe}",
            )
        )
    return recipe


def _facts() -> "Facts":
    from fsft.recipes.hardware.detect import detect_machine
    from fsft.wizard.facts import Facts

    return Facts(detect_machine(), existing=frozenset(file.name for file in Path().glob("*.toml")))


def _write(options: argparse.Namespace, draft: "Draft") -> None:
    """Without a terminal."""
    from fsft.wizard.headless import finished
    from fsft.wizard.saving import STDOUT, run_command, save

    outlook = finished(draft, _facts(), accepts_defaults=options.yes)
    out = outlook.answers["out"].text
    if out == STDOUT:
        typer.echo(outlook.text, nl=False)
        return
    save(draft, out, outlook.text, overwrite=options.overwrite)
    if options.json:
        typer.echo(json.dumps({"recipe": out, "run": run_command(out)}, ensure_ascii=False))
    else:
        _tell_next(out)


def _ask(options: argparse.Namespace, draft: "Draft") -> None:
    """On a terminal."""
    from fsft.wizard import autosave
    from fsft.wizard.app import WizardApp

    notice = ""
    if options.start_over:
        autosave.forget(draft.opened)
    elif kept := autosave.kept_draft(draft.opened):
        # What is said now goes before what was said then.
        for key, text in draft.answers.items():
            kept = kept.answer(key, text)
        draft = kept
        notice = "Your draft is back. Ctrl+P, Start over, forgets it."
    result = WizardApp(draft, _facts(), theme=options.theme, notice=notice).run()
    if result is None:
        raise typer.Exit(1)
    if result.text:
        typer.echo(result.text, nl=False)
    elif result.path:
        _tell_next(str(result.path))
        if result.run:
            run_watched(result.path, options.theme)
    else:
        kept = autosave.kept_draft(draft.opened)
        goes_on = " The draft is kept: fsft wizard goes on with it." if kept else ""
        typer.echo(f"Nothing was written.{goes_on}", err=True)


def run_watched(recipe: Path, theme: str) -> None:
    """Start the run in the background, and follow it; whoever stops watching does not stop it."""
    import subprocess

    from fsft.recipes.run_files import RunFiles
    from fsft.wizard.monitor.app import WatchApp

    command = [sys.executable, "-m", "fsft", "run", str(recipe)]
    typer.echo("Planning the run …", err=True)
    planned = subprocess.run(
        [*command, "--dry-run", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if planned.returncode:
        raise typer.Exit(planned.returncode)
    run = RunFiles(Path(json.loads(planned.stdout)["run"]))
    run.logs.mkdir(parents=True, exist_ok=True)
    with (run.logs / "console.log").open("ab") as log:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    WatchApp(run, theme=theme).run()
    typer.echo(f"The run goes on by itself: fsft watch {run.path}")


def _tell_next(out: str) -> None:
    from shlex import quote

    from fsft.wizard.saving import run_command

    typer.echo(f"Wrote {out}. Next:\n  fsft check {quote(out)}\n  {run_command(out)}")


def _serve(options: argparse.Namespace, arguments: list[str]) -> None:
    """The same program, in a browser."""
    from importlib.resources import files
    from shlex import join

    from textual_serve.server import Server

    from fsft.recipes.problems import Problem, RecipeError, Refused

    if not 0 < options.web < 2**16:
        raise RecipeError(
            Problem(file="--web", reason=f"{options.web} is not a port.", example="--web 8700")
        )
    rest = [text for text in arguments if text != "--web" and not text.startswith("--web=")]
    if str(options.web) in rest and "--web" in arguments:
        rest.remove(str(options.web))
    try:
        Server(
            join([sys.executable, "-m", "fsft", "wizard", *rest]),
            "127.0.0.1",
            options.web,
            title="fsft wizard",
            templates_path=str(files("fsft.wizard") / "web"),
        ).serve()
    except OSError as error:
        raise Refused(
            Problem(file=f"port {options.web}", reason=f"cannot be listened on: {error.strerror}.")
        ) from None

"""`fsft watch`: look at a run while it goes on, and at its report afterwards."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsft.cli.options import JsonOption, has_terminal

if TYPE_CHECKING:
    from fsft.wizard.monitor.snapshot import Snapshot


def watch(
    run: Annotated[
        Path | None, typer.Argument(help="A run directory; without one, the latest in --runs.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="The folder that holds run directories.")] = Path(
        "runs"
    ),
    theme: Annotated[str, typer.Option(help="dark, light or ansi.")] = "dark",
    as_json: JsonOption = False,
) -> None:
    """Follow a run: stages, loss, speed, memory against plan. The run does not notice."""
    from fsft.recipes.events import read_events
    from fsft.recipes.problems import Problem, RecipeError
    from fsft.wizard.monitor.run_state import find_run
    from fsft.wizard.monitor.snapshot import Snapshot, follow

    found = find_run(run, runs)
    if as_json or not has_terminal():
        events = read_events(found.events_file) if found.events_file.exists() else iter(())
        snapshot = follow(Snapshot(), events)
        if as_json:
            typer.echo(json.dumps({"run": str(found.path), **_plain(snapshot)}, ensure_ascii=False))
            return
        from fsft.wizard.monitor.view import text_lines

        typer.echo("\n".join(text_lines(snapshot, found, time.time())))
        return
    from fsft.wizard.monitor.app import WatchApp
    from fsft.wizard.theme import THEMES

    if theme not in THEMES:
        raise RecipeError(
            Problem(file="--theme", reason=f"`{theme}` is not one of {', '.join(THEMES)}.")
        )
    WatchApp(found, theme=theme).run()


def _plain(snapshot: "Snapshot") -> dict[str, Any]:
    """The snapshot with what follows from it; seconds, tokens a second, shares."""
    plain = asdict(snapshot)
    for key in ("train", "step", "checkpoint", "eval_loss", "best"):
        event = getattr(snapshot, key)
        plain[key] = event.model_dump(mode="json") if event else None
    plain |= {
        "tokens_per_second": snapshot.tokens_per_second,
        "mfu": snapshot.mfu,
        "training_left": snapshot.training_left,
    }
    losses = [(step, loss if math.isfinite(loss) else str(loss)) for step, loss in snapshot.losses]
    return {**plain, "losses": losses}

"""`fsft run`: do what a recipe says."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsft.cli.options import JsonOption, RecipeArgument, SetOption
from fsft.recipes.stages import Stage
from fsft.runtime.launch.options import DEFAULT_PORT, Launcher, Launching

if TYPE_CHECKING:
    from fsft.runtime.run import RunPlan


def run(
    recipe: RecipeArgument,
    set_: SetOption = None,
    runs: Annotated[Path, typer.Option(help="The folder that holds run directories.")] = Path(
        "runs"
    ),
    only: Annotated[Stage | None, typer.Option(help="Do this stage alone, again.")] = None,
    from_: Annotated[
        Stage | None, typer.Option("--from", help="Do this stage and all after it again.")
    ] = None,
    until: Annotated[Stage | None, typer.Option(help="Do nothing after this stage.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start although the planner says it cannot fit.")
    ] = False,
    launcher: Annotated[
        Launcher, typer.Option(help="What starts the processes; all but local know many machines.")
    ] = "local",
    hostfile: Annotated[
        Path | None, typer.Option(help="For ssh: the machines, a line HOST slots=N for each.")
    ] = None,
    rdzv_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="For torchrun: where the machines meet, on the first one; by default "
            f"MASTER_ADDR and MASTER_PORT, or port {DEFAULT_PORT}.",
        ),
    ] = None,
    node_rank: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar=["NODE_RANK", "PET_NODE_RANK"],
            help="For torchrun: which machine this is, from 0.",
        ),
    ] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds after which a step that does not end fails the run; by default 20 times "
            "the median, at least 300.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe to the end: prepare, train, convert, evaluate, report."""
    from fsft.recipes.files import read_recipe
    from fsft.recipes.problems import Problem, RecipeError, Refused
    from fsft.recipes.shipped import find_recipe
    from fsft.runtime.run import execute, plan_run

    if only and (from_ or until):
        raise RecipeError(Problem(file="--only", reason="cannot go with --from or --until."))
    path = find_recipe(recipe)
    plan = plan_run(
        read_recipe(path, set_ or []),
        path.parent,
        runs,
        first=only or from_,
        last=only or until,
        force=force,
        launching=Launching(
            launcher,
            hostfile=hostfile,
            endpoint=rdzv_endpoint or _endpoint_of(os.environ),
            node_rank=node_rank,
            step_timeout=step_timeout,
        ),
    )
    if only and plan.needed != [only]:
        raise Refused(
            Problem(
                file="--only",
                reason=f"{only} needs {', '.join(plan.needed[:-1])} first.",
                example=f"--until {only}",
            )
        )
    if not dry_run and plan.needed:
        from rich.console import Console

        from fsft.runtime.progress import ProgressDisplay

        console = Console(file=sys.stderr)
        with ProgressDisplay(plan.run.events_file, console), stop_on_signals():
            if plan.launching.only_joins:
                from fsft.runtime.launch.join import join

                join(plan)
            else:
                execute(plan)
    if as_json:
        typer.echo(json.dumps(_result(plan, done=not dry_run), ensure_ascii=False))
    else:
        typer.echo(_dry_text(plan) if dry_run else _done_text(plan))


def _endpoint_of(environment: Mapping[str, str]) -> str:
    """What schedulers say of the first machine, in the way of torch.distributed."""
    host, port = environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")
    return f"{host}:{port}" if host and port else host


@contextmanager
def stop_on_signals(then: str = "The same command goes on.") -> Iterator[None]:
    """Turn SIGTERM and SIGUSR1, by which schedulers ask to stop, into Stopped; name Ctrl-C.

    `then` says what a person can do next.
    """
    from fsft.recipes.problems import Interrupted, Stopped

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(f"stopped on {signal.Signals(number).name}. {then}")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted. {then}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _result(plan: "RunPlan", *, done: bool) -> dict[str, Any]:
    stages = [
        {"stage": stage.stage, "done": stage.is_needed and done, "reason": stage.reason}
        for stage in plan.stages
    ]
    report = plan.run.report / "report.json"
    return {
        "run": str(plan.run.path),
        "stages": stages,
        "report": json.loads(report.read_text(encoding="utf-8")) if report.exists() else None,
    }


def _dry_text(plan: "RunPlan") -> str:
    lines = [f"{plan.run.path} would be made:" if plan.needed else f"{plan.run.path} is done:"]
    lines += [
        f"  {'do  ' if stage.is_needed else 'skip'} {stage.stage}: {stage.reason}"
        for stage in plan.stages
    ]
    return "\n".join(lines)


def _done_text(plan: "RunPlan") -> str:
    path = plan.run.path
    if not plan.needed:
        return f"Nothing to do: {path} is finished. Do a stage again with --from STAGE."
    lines = [f"Done: {path}"]
    if (path / "report" / "report.html").exists():
        lines.append(f"  report    {path / 'report' / 'report.html'}")
    if plan.run.model.exists():
        lines.append(f'  ask it    fsft generate {path} --prompt "Who are you?"')
        lines.append(f"  serve it  fsft serve {path}")
    return "\n".join(lines)

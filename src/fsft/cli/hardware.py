"""`fsft hardware` and `fsft calibrate`: the devices that the planner knows, and this machine's."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsft.cli.options import JsonOption

if TYPE_CHECKING:
    from fsft.recipes.hardware.calibration import Calibration


def hardware(
    name: Annotated[
        str | None, typer.Argument(help="A device, to show all that is known of it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show this machine, and the accelerators that the planner knows."""
    from rich.console import Console

    from fsft.cli.hardware_view import (
        accelerator_document,
        machine_document,
        show_accelerator,
        show_machine,
        show_table,
    )
    from fsft.recipes.hardware.accelerators import accelerator_names, find_accelerator
    from fsft.recipes.hardware.calibration import read_calibration
    from fsft.recipes.hardware.detect import detect_machine

    console = Console(highlight=False)
    if name is not None:
        accelerator = find_accelerator(name)
        if as_json:
            typer.echo(json.dumps(accelerator_document(accelerator), ensure_ascii=False))
        else:
            show_accelerator(accelerator, console)
        return
    machine, measured = detect_machine(), read_calibration()
    known = [find_accelerator(each) for each in accelerator_names()]
    if as_json:
        document = {
            "machine": machine_document(machine, measured),
            "accelerators": [accelerator_document(each) for each in known],
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        show_machine(machine, measured, console)
        show_table(known, console)


def calibrate(
    out: Annotated[
        Path | None, typer.Option(help="Where to keep it, if not with the user's settings.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="The folder whose disk is measured.")] = Path("runs"),
    seconds: Annotated[float, typer.Option(help="How long each measurement takes.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine, so that plans for it go by what it can do."""
    from fsft.recipes.hardware.calibration import calibration_file
    from fsft.recipes.problems import Interrupted, Problem, RecipeError

    file = out or calibration_file()
    if not 0 < seconds <= 600:
        raise RecipeError(
            Problem(file="--seconds", reason=f"{seconds:g} is not between 0 and 600.")
        )
    # What takes a while should not fail at its end.
    _writable_folder(file)
    before = _kept_before(file, is_ours=out is None)
    folder = _writable_folder(runs / "run")
    try:
        calibration = _measured(folder, seconds)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written.") from None
    _write(file, {**before, calibration.device: calibration})
    if as_json:
        typer.echo(json.dumps({"file": str(file), **vars(calibration)}, ensure_ascii=False))
    else:
        from rich.console import Console

        from fsft.cli.hardware_view import show_calibration

        console = Console(highlight=False)
        show_calibration(calibration, console)
        console.print(f"kept in {file}", soft_wrap=True)


def _kept_before(file: Path, *, is_ours: bool) -> "dict[str, Calibration]":
    """What the file holds already.

    Our own is written anew where it is broken; any other could be something that is needed.
    """
    from fsft.recipes.hardware.calibration import read_calibration
    from fsft.recipes.problems import Problem, RecipeError

    try:
        return read_calibration(file)
    except RecipeError as error:
        if is_ours:
            return {}
        (problem,) = error.problems
        raise RecipeError(
            Problem(file=str(file), reason=problem.reason, example="another file for --out")
        ) from None


def _writable_folder(file: Path) -> Path:
    """The folder that `file` would lie in, or the nearest that there is; raises Refused."""
    from fsft.recipes.problems import Problem, Refused

    try:
        folder = next(folder for folder in file.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise Refused(
            Problem(file=str(file), reason=f"cannot be written: {error.strerror}.")
        ) from None


def _measured(folder: Path, seconds: float) -> "Calibration":
    from rich.console import Console

    from fsft.recipes.hardware.calibration import Calibration
    from fsft.recipes.problems import Problem, RunFailed

    console = Console(stderr=True, highlight=False)
    doing = "starting"
    with console.status(doing) as status:
        from fsft.runtime.calibrate.measure import measure

        try:
            for step in measure(folder, seconds):
                if isinstance(step, Calibration):
                    return step
                doing = f"measuring {step.name}"
                if console.is_terminal:
                    status.update(doing)
                else:
                    console.print(f"{doing} …", soft_wrap=True)
        except RuntimeError as error:
            reason = f"failed: {str(error).strip().splitlines()[0]}"
            raise RunFailed(Problem(file=doing, reason=reason)) from error
    raise AssertionError("a measurement ends with a calibration")


def _write(file: Path, measured: "dict[str, Calibration]") -> None:
    import tomli_w

    from fsft.recipes.hardware.calibration import to_document

    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text(tomli_w.dumps(to_document(measured)), encoding="utf-8")
    part.replace(file)

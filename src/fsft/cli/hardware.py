"""`fsft hardware` and `fsft calibrate`: the devices that the planner knows, and this machine's."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from fsft.recipes.problems import Problem, RecipeError

    file = out or calibration_file()
    if not 0 < seconds <= 600:
        raise RecipeError(
            Problem(file="--seconds", reason=f"{seconds:g} is not between 0 and 600.")
        )
    _refuse_unwritable(file)
    calibration = _measured(runs if runs.is_dir() else Path(), seconds)
    _write(file, calibration)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **vars(calibration)}, ensure_ascii=False))
    else:
        from rich.console import Console

        from fsft.cli.hardware_view import show_calibration

        show_calibration(calibration, file, Console(highlight=False))


def _measured(folder: Path, seconds: float) -> "Calibration":
    from rich.console import Console

    from fsft.recipes.hardware.calibration import Calibration
    from fsft.recipes.hardware.detect import detected_cluster
    from fsft.runtime.calibrate.measure import measure

    found = detected_cluster("auto")
    name = found.accelerator.name if found else "cpu"
    result: Any = None
    with Console(stderr=True).status("measuring") as status:
        for step in measure(name, folder, seconds):
            if isinstance(step, Calibration):
                result = step
            else:
                status.update(f"measuring {step.name}")
    assert isinstance(result, Calibration)
    return result


def _refuse_unwritable(file: Path) -> None:
    """What takes a while should not fail at its end."""
    from fsft.recipes.problems import Problem, Refused

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise Refused(
            Problem(file=str(file), reason=f"cannot be written: {error.strerror}.")
        ) from None
    if file.stat().st_size == 0:
        file.unlink()


def _write(file: Path, calibration: "Calibration") -> None:
    import tomli_w

    from fsft.recipes.hardware.calibration import read_calibration, to_document

    measured = {**read_calibration(file), calibration.device: calibration}
    text = tomli_w.dumps(to_document(measured))
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)

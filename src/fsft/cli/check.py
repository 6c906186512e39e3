"""`fsft check`: everything that is wrong with a recipe, before anything is done."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fsft.cli.options import JsonOption, RecipeArgument, SetOption

if TYPE_CHECKING:
    from fsft.recipes.problems import Problem
    from fsft.recipes.schema import Budget, Hardware, Recipe, Source


def check(
    recipe: RecipeArgument,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find all problems of a recipe at once, and those of the files that it names."""
    from fsft.recipes.files import read_recipe
    from fsft.recipes.inputs import missing_inputs, without_eval
    from fsft.recipes.problems import ExitCode, FsftError, Refused
    from fsft.recipes.shipped import find_recipe

    try:
        path = find_recipe(recipe)
        read = read_recipe(path, set_ or [])
        files = missing_inputs(read, path.parent)
        layout = [] if files else _counted_problems(read, path.parent)
        data = [] if files else _data_problems(read, path.parent)
        if problems := [*files, *data, *layout, *without_eval(read)]:
            raise Refused(*problems)
    except FsftError as error:
        if not as_json:
            raise
        listed = [asdict(problem) for problem in error.problems]
        typer.echo(json.dumps({"ok": False, "problems": listed}, ensure_ascii=False))
        raise typer.Exit(error.exit_code) from None
    if as_json:
        typer.echo(json.dumps({"ok": True, "problems": []}))
    else:
        typer.echo(f"✓ {read.name}: {describe(read)}")
    raise typer.Exit(ExitCode.DONE)


def _data_problems(recipe: "Recipe", folder: Path) -> list["Problem"]:
    """Data whose shape is not known, or of no use to training.

    Of what lies elsewhere, only what the recipe says is known.
    """
    from fsft.recipes.data_files import is_elsewhere
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.preferences import format_in_recipe, preference_problems
    from fsft.recipes.problems import Refused
    from fsft.runtime.data.samples import source_format

    problems: list[Problem] = []

    def seen(source: "Source") -> str:
        if is_elsewhere(source.path):
            return format_in_recipe(source)
        try:
            return source_format(source)
        except Refused as error:
            problems.extend(error.problems)
            return "auto"

    useless = list(preference_problems(resolve_paths(recipe, folder).data, seen))
    return [*problems, *useless]


def _counted_problems(recipe: "Recipe", folder: Path) -> list["Problem"]:
    """What forbids the layout of a model without a reader, which torch has to count."""
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.layouts import described_devices, known_shape, layout_problems
    from fsft.recipes.problems import RecipeError
    from fsft.runtime.planning import model_shape

    resolved, parallel = resolve_paths(recipe, folder), recipe.parallel
    degrees = (parallel.tensor, parallel.pipeline, parallel.sequence, parallel.expert)
    if set(degrees) <= {1, "auto"} or known_shape(resolved):
        return []
    try:
        shape = model_shape(resolved)
    except (RecipeError, ModuleNotFoundError):
        # Training looks at the model itself.
        return []
    return layout_problems(resolved, shape, described_devices(recipe.hardware))


def describe(recipe: "Recipe") -> str:
    """What the recipe will do, in a line."""
    return (
        f"train {recipe.method.type}, {_length(recipe.budget)}, {_devices(recipe.hardware)}, "
        f"ZeRO {recipe.parallel.zero}, {recipe.model.dtype}"
    )


def _length(budget: "Budget") -> str:
    from fsft.recipes.units import format_count

    if budget.tokens is not None:
        return f"{format_count(budget.tokens)} tokens"
    if budget.steps is not None:
        return f"{budget.steps} step{'' if budget.steps == 1 else 's'}"
    return f"{budget.epochs:g} epoch{'' if budget.epochs == 1 else 's'}"


def _devices(hardware: "Hardware") -> str:
    kind = "cuda or cpu" if hardware.accelerator == "auto" else hardware.accelerator
    number = hardware.devices_per_node
    return kind if number == "auto" else f"{number} × {kind}"

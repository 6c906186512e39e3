"""`fsft export`: a recipe as the job file of a scheduler."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsft.cli.options import RecipeArgument, SetOption

if TYPE_CHECKING:
    from fsft.recipes.export.job import Job

OutOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="The file to write; by default the output.")
]

export_app = typer.Typer(no_args_is_help=True, help="Write the job file of a scheduler.")


@export_app.command()
def slurm(recipe: RecipeArgument, set_: SetOption = None, out: OutOption = None) -> None:
    """Write an sbatch file: the recipe's machines, the plan's time, back after preemption."""
    from fsft.recipes.export.slurm import slurm_script

    _write(slurm_script(_job(recipe, set_ or [])), out)


@export_app.command()
def k8s(
    recipe: RecipeArgument,
    image: Annotated[str, typer.Option(help="A container image that holds fsft.")],
    claim: Annotated[
        str, typer.Option(help="A PersistentVolumeClaim that all pods share, with the recipe.")
    ],
    set_: SetOption = None,
    out: OutOption = None,
) -> None:
    """Write a PyTorchJob for Kubeflow's training operator; JSON, which kubectl takes as YAML."""
    from fsft.recipes.export.k8s import pytorch_job

    manifest = pytorch_job(_job(recipe, set_ or []), image=image, claim=claim)
    _write(json.dumps(manifest, indent=2) + "\n", out)


def _job(recipe: str, overrides: list[str]) -> "Job":
    from fsft.recipes.export.job import Job, job_devices
    from fsft.recipes.files import read_recipe
    from fsft.recipes.shipped import find_recipe

    path = find_recipe(recipe)
    read = read_recipe(path, overrides)
    hardware = read.hardware
    return Job(
        name=read.name,
        arguments=(recipe, *(part for item in overrides for part in ("--set", item))),
        nodes=hardware.nodes,
        devices_per_node=job_devices(hardware),
        has_gpus=hardware.accelerator != "cpu",
        seconds=_planned_seconds(path, overrides),
    )


def _planned_seconds(path: Path, overrides: list[str]) -> float | None:
    """By the plan, at the upper end of its range; None where it cannot say."""
    from fsft.recipes.files import read_recipe
    from fsft.recipes.hardware.detect import detected_cluster
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.planner.cost import plan_cost
    from fsft.recipes.planner.plan import make_plan
    from fsft.recipes.planner.questions import cluster_of, fixed_by, job_of, shape_of
    from fsft.recipes.planner.ranges import time_range
    from fsft.recipes.problems import RecipeError

    read = resolve_paths(read_recipe(path, overrides), path.parent)
    try:
        cluster = cluster_of(read.hardware, detected_cluster(read.hardware.accelerator))
        job = job_of(read, shape_of(read), cluster)
    except RecipeError:
        # Without a known model or device there is no time, and Slurm's own limit counts.
        return None
    made = make_plan(job, cluster, fixed_by(read.parallel))
    if made.best is None:
        return None
    seconds = plan_cost(job, made.best.layout, made.best.time, cluster).seconds
    return None if seconds is None else time_range(seconds, job.style.family).high


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    typer.echo(f"Wrote {out}.", err=True)

"""`fsft plan`: memory, time and cost of a run before anything is spent."""

import csv
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fsft.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from fsft.recipes.hardware.cluster import Cluster
    from fsft.recipes.models.shape import ModelShape
    from fsft.recipes.planner.job import Job
    from fsft.recipes.planner.plan import Plan

_EXAMPLE = (
    "fsft plan --model llama-2-70b --accelerator A100-80GB --nodes 6 --devices 4 --tokens 0.7B"
)


class Question(NamedTuple):
    """What the planner is asked, and what is decided already."""

    config: Mapping[str, Any]
    """The model's config.json."""
    job: "Job"
    cluster: "Cluster"
    fixed: dict[str, Any]


def plan(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe file, or the name of a shipped recipe.")
    ] = None,
    set_: SetOption = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model of the catalogue, a config.json, or a folder with one."),
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="A device, as in A100-80GB; `fsft hardware` lists them.")
    ] = None,
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    devices: Annotated[int, typer.Option(help="Devices on each machine.")] = 1,
    tokens: Annotated[str | None, typer.Option(help="Tokens to train on, as in 0.7B.")] = None,
    sequence_length: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 4096,
    global_batch: Annotated[
        int | None, typer.Option(help="Sequences in one optimizer step.")
    ] = None,
    method: Annotated[str, typer.Option(help="full, lora, qlora, freeze or prompt.")] = "full",
    rank: Annotated[int, typer.Option(help="The rank of LoRA adapters.")] = 8,
    link: Annotated[
        str | None, typer.Option(help="The link between machines: NDR, 100GbE, or GB/s a device.")
    ] = None,
    host_memory: Annotated[
        str | None, typer.Option(help="Main memory of a machine, as in 512GB.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="What one device costs for an hour.")] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Decide a part of the layout, as in tensor=4."),
    ] = None,
    explain: Annotated[bool, typer.Option(help="Print the formulas with their numbers.")] = False,
    compare: Annotated[
        bool, typer.Option(help="Set the classical published estimate beside fsft's own.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Trace one step of the real model, and compare; needs torch."),
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="List every layout, and why others were rejected.")
    ] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all layouts as CSV.")] = False,
) -> None:
    """Find the best layout for a model on some hardware: what fits, how long, at what price."""
    from fsft.recipes.planner.plan import make_plan
    from fsft.recipes.problems import ExitCode, Problem, RecipeError

    if (recipe is None) == (model is None):
        raise RecipeError(
            Problem(file="fsft plan", reason="give either a recipe or --model.", example=_EXAMPLE)
        )
    if recipe is not None:
        question = _from_recipe(recipe, set_ or [])
    else:
        question = _from_options(
            str(model),
            accelerator=accelerator,
            nodes=nodes,
            devices=devices,
            tokens=tokens,
            sequence_length=sequence_length,
            global_batch=global_batch,
            method=method,
            rank=rank,
            link=link,
            host_memory=host_memory,
            price=price,
        )
    made = make_plan(question.job, question.cluster, {**question.fixed, **_fixed(fix or [])})
    if as_json:
        typer.echo(json.dumps(_document(made), ensure_ascii=False))
    elif as_csv:
        _write_csv(made)
    else:
        _show(made, explain=explain, compare=compare, all_=all_)
        if trace:
            _trace(question.config, made)
    raise typer.Exit(ExitCode.DONE if made.best else ExitCode.REFUSED)


def _from_recipe(recipe: str, overrides: list[str]) -> Question:
    from fsft.recipes.files import read_recipe
    from fsft.recipes.hardware.detect import detected_cluster
    from fsft.recipes.inputs import resolve_paths
    from fsft.recipes.planner.questions import cluster_of, config_of, fixed_by, job_of, shape_of
    from fsft.recipes.shipped import find_recipe

    path = find_recipe(recipe)
    read = resolve_paths(read_recipe(path, overrides), path.parent)
    cluster = cluster_of(read.hardware, detected_cluster(read.hardware.accelerator))
    shape = _counted_if_unknown(partial(shape_of, read), partial(config_of, read))
    job = job_of(read, shape, cluster)
    return Question(config_of(read), job, cluster, fixed_by(read.parallel))


def _from_options(
    model: str,
    *,
    accelerator: str | None,
    nodes: int,
    devices: int,
    tokens: str | None,
    sequence_length: int,
    global_batch: int | None,
    method: str,
    rank: int,
    link: str | None,
    host_memory: str | None,
    price: float | None,
) -> Question:
    """All that is wrong with the options is told at once."""
    from fsft.recipes.hardware.accelerators import find_accelerator, find_link
    from fsft.recipes.hardware.cluster import make_cluster
    from fsft.recipes.models.from_config import load_config, load_shape
    from fsft.recipes.planner.job import Job
    from fsft.recipes.planner.questions import method_of
    from fsft.recipes.problems import FsftError, Problem, RecipeError

    problems: list[Problem] = []

    def ask(question: Any, *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except FsftError as error:
            problems.extend(error.problems)
            return None

    shape = ask(_counted_if_unknown, partial(load_shape, model), partial(load_config, model))
    chosen = ask(method_of, method, rank)
    device = None
    if accelerator is None:
        problems.append(Problem(file="--accelerator", reason="is missing.", example="A100-80GB"))
    else:
        device = ask(find_accelerator, accelerator)
    link_speed = None if link is None else ask(find_link, link)
    memory = _amount("--host-memory", host_memory, problems, of_bytes=True)
    budget = _amount("--tokens", tokens, problems, of_bytes=False)
    for name, value in (("--sequence-length", sequence_length), ("--global-batch", global_batch)):
        if value is not None and not 0 < value <= 2**31:
            problems.append(Problem(file=name, reason=f"{value} is not a number to train with."))
    if rank < 1:
        problems.append(Problem(file="--rank", reason=f"{rank} must be at least 1."))
    if device is None or problems:
        raise RecipeError(*problems)
    cluster = make_cluster(
        device,
        nodes=nodes,
        devices_per_node=devices,
        link=link_speed,
        host_memory=memory,
        price=price,
    )
    job = Job(shape, sequence_length, method=chosen, num_tokens=budget, global_batch=global_batch)
    return Question(load_config(model), job, cluster, {})


def _counted_if_unknown(
    read: Callable[[], "ModelShape"], config: Callable[[], Mapping[str, Any]]
) -> "ModelShape":
    """What `read` gives; for an unknown architecture, what torch counts, if it is there."""
    from fsft.recipes.models.from_config import UnknownArchitecture
    from fsft.recipes.problems import Problem

    try:
        return read()
    except UnknownArchitecture as error:
        try:
            from fsft.runtime.trace.unknown import counted_shape
        except ModuleNotFoundError:
            hint = "without torch it cannot be counted on the model either."
            example = 'pip install "fsft[train]"'
            more = Problem(file="model", reason=hint, example=example)
            raise type(error)(*error.problems, more) from None
        return counted_shape(config())


def _amount(name: str, text: str | None, problems: list[Any], *, of_bytes: bool) -> int | None:
    from fsft.recipes.problems import Problem
    from fsft.recipes.units import parse_bytes, parse_count

    if text is None:
        return None
    value = parse_bytes(text) if of_bytes else parse_count(text)
    if isinstance(value, int) and value > 0:
        return value
    example = "512GB" if of_bytes else "0.7B"
    problems.append(Problem(file=name, reason=f"`{text}` is not an amount.", example=example))
    return None


def _fixed(pairs: list[str]) -> dict[str, Any]:
    from fsft.recipes.planner.questions import fixed_from
    from fsft.recipes.problems import Problem, RecipeError

    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise RecipeError(
            *(
                Problem(file="--fix", reason=f"`{pair}` is not KEY=VALUE.", example="tensor=4")
                for pair in wrong
            )
        )
    return fixed_from(dict(pair.split("=", 1) for pair in pairs))


def _document(made: "Plan") -> dict[str, Any]:
    from fsft.recipes.planner.document import plan_document

    return plan_document(made)


def _write_csv(made: "Plan") -> None:
    from fsft.recipes.planner.document import layout_rows

    rows = layout_rows(made)
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else ["layout"])
    writer.writeheader()
    writer.writerows(rows)


def _trace(config: Mapping[str, Any], made: "Plan") -> None:
    from rich.console import Console

    from fsft.cli.trace_view import show_trace

    show_trace(config, made, Console(highlight=False))


def _show(made: "Plan", *, explain: bool, compare: bool, all_: bool) -> None:
    from rich.console import Console

    from fsft.cli.plan_view import show_all, show_arithmetic, show_classical, show_plan

    console = Console(highlight=False)
    show_plan(made, console)
    if all_:
        show_all(made, console)
    if explain:
        show_arithmetic(made, console)
    if compare:
        show_classical(made, console)

"""A run from start to end: which stages are needed, doing them in order, remembering them."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from fsft import __version__
from fsft.recipes.events import (
    Failed,
    RunFinished,
    RunStarted,
    StageFinished,
    StageSkipped,
    StageStarted,
    Warned,
)
from fsft.recipes.inputs import missing_inputs, resolve_paths, without_eval
from fsft.recipes.preferences import format_in_recipe, preference_problems
from fsft.recipes.problems import ExitCode, FsftError, Problem, Refused, Stopped
from fsft.recipes.run_files import IMAGE_HASHES
from fsft.recipes.schema import Recipe
from fsft.recipes.stages import STAGES, Stage
from fsft.recipes.writing import to_toml
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.fingerprints import Input, find_inputs, stage_fingerprints
from fsft.runtime.hardware import find_devices
from fsft.runtime.launch.options import LOCAL, Launching
from fsft.runtime.launch.start import launch_problems
from fsft.runtime.locking import write_lock
from fsft.runtime.planning import planned
from fsft.runtime.resume import anew_for_other_batches, require_optimizer, require_same_batch
from fsft.runtime.run_directory import FinishedStage, RunDirectory, exclusive, write_text
from fsft.runtime.troubles import explain
from fsft.runtime.unchanged import MOST_NAMED

STAGE_FUNCTIONS: dict[Stage, tuple[str, str]] = {
    "prepare": ("fsft.runtime.data.prepare", "prepare"),
    "train": ("fsft.runtime.launch.train", "train"),
    "convert": ("fsft.runtime.convert.convert", "convert"),
    "evaluate": ("fsft.runtime.evaluate.evaluate", "evaluate"),
    "report": ("fsft.runtime.report.report", "write_report"),
}
"""The module and the function that do each stage."""


@dataclass(frozen=True)
class StagePlan:
    """Whether a stage will be done, and why."""

    stage: Stage
    is_needed: bool
    reason: str


@dataclass(frozen=True)
class RunPlan:
    """What `fsft run` is about to do."""

    run: RunDirectory
    recipe: Recipe
    inputs: list[Input]
    fingerprints: dict[Stage, str]
    stages: list[StagePlan]
    expected: dict[str, Any]
    """What the planner expects, for the lock."""
    launching: Launching = LOCAL
    warnings: tuple[str, ...] = ()

    @property
    def needed(self) -> list[Stage]:
        """The stages that will be done, in order."""
        return [plan.stage for plan in self.stages if plan.is_needed]


def plan_run(
    recipe: Recipe,
    recipe_folder: Path,
    runs_folder: Path,
    *,
    first: Stage | None = None,
    last: Stage | None = None,
    force: bool = False,
    launching: Launching = LOCAL,
) -> RunPlan:
    """What has to be done for `recipe`; reads files, changes nothing but remembered hashes.

    `first` is done again in any case, with all after it; nothing after `last` is done. Raises
    Refused when something that the run needs is missing, when an image is not the one that the data
    was prepared with, when the checkpoint to go on from holds weights alone and, unless `force`,
    when training cannot fit, or would begin anew for no other reason than its number of replicas.
    """
    problems = [
        *missing_inputs(recipe, recipe_folder),
        *without_eval(recipe),
        *preference_problems(recipe.data, format_in_recipe),
    ]
    if runs_folder.exists() and not runs_folder.is_dir():
        problems.append(Problem(file=str(runs_folder), reason="is a file, not a folder for runs."))
    if problems:
        raise Refused(*problems)
    answer = planned(resolve_paths(recipe, recipe_folder))
    recipe = answer.recipe
    inputs = find_inputs(recipe, runs_folder / ".file-hashes.json")
    num_processes = find_devices(recipe.hardware).num_processes
    global_batch = recipe.parallel.settled.global_batch(num_processes)
    prints = stage_fingerprints(recipe, inputs, global_batch)
    run = RunDirectory(runs_folder / f"{recipe.name}-{prints['train'][:8]}")
    stages = list(_plan_stages(run, prints, first, last))
    if not stages[0].is_needed and (changed := _changed_images(run, recipe)):
        raise Refused(*changed)
    plan = RunPlan(run, recipe, inputs, prints, stages, answer.expected, launching)
    if "train" in plan.needed:
        if problems := launch_problems(launching, recipe.hardware, runs_folder):
            raise Refused(*problems)
        require_optimizer(run)
        if not force:
            if answer.trouble:
                raise Refused(answer.trouble)
            require_same_batch(run, recipe, num_processes)
        plan = replace(plan, warnings=tuple(anew_for_other_batches(run, recipe, global_batch)))
    return plan


def execute(plan: RunPlan) -> None:
    """Do what the plan says; everything that happens goes to the run's events.

    Raises FsftError for what went wrong, Stopped or KeyboardInterrupt when asked to stop; what was
    finished stays finished.
    """
    run = plan.run
    with exclusive(run):
        started = time.perf_counter()
        events = EventLog(run.events_file)
        write_text(run.recipe_file, to_toml(plan.recipe))
        write_lock(run, plan.recipe, plan.inputs, plan.expected)
        events.write(
            RunStarted(name=plan.recipe.name, fsft_version=__version__, stages=plan.needed)
        )
        for message in plan.warnings:
            events.write(Warned(message=message))
        code = ExitCode.FAILED
        try:
            for stage in plan.stages:
                if stage.is_needed:
                    _do_stage(plan, stage.stage, events)
                elif stage.stage in run.finished_stages():
                    events.write(StageSkipped(stage=stage.stage, reason=stage.reason))
            code = ExitCode.DONE
        except FsftError as error:
            code = error.exit_code
            raise
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
            raise
        finally:
            seconds = time.perf_counter() - started
            events.write_if_possible(RunFinished(exit_code=code, seconds=seconds))


def _plan_stages(
    run: RunDirectory, prints: dict[Stage, str], first: Stage | None, last: Stage | None
) -> Iterator[StagePlan]:
    finished = run.finished_stages()
    begin = STAGES.index(first) if first else len(STAGES)
    end = STAGES.index(last) if last else len(STAGES)
    for index, stage in enumerate(STAGES):
        before = finished.get(stage)
        if index > end:
            yield StagePlan(stage, False, f"comes after {last}")
        elif index >= begin:
            yield StagePlan(stage, True, f"asked for by name ({first})")
        elif before is None:
            yield StagePlan(stage, True, "not done yet")
        elif before.fingerprint != prints[stage]:
            yield StagePlan(stage, True, "its part of the recipe or its input changed")
        else:
            yield StagePlan(stage, False, f"done before: {before.summary}")


def _changed_images(run: RunDirectory, recipe: Recipe) -> list[Problem]:
    """The first images that are not as they were when the run's data was prepared."""
    if not (run.data / IMAGE_HASHES).exists():
        return []
    from fsft.runtime.data.images.hashes import changed_images

    return list(islice(changed_images(run.data, recipe.data), MOST_NAMED))


def _do_stage(plan: RunPlan, stage: Stage, events: EventLog) -> None:
    """Do one stage and remember it; its results are in place only when it went well."""
    run = plan.run
    started = time.perf_counter()
    events.write(StageStarted(stage=stage))
    fingerprint = plan.fingerprints[stage]
    context = StageContext(
        stage, plan.recipe, run, events, fingerprint, plan.launching, plan.inputs
    )
    before = run.finished_stages().get(stage)
    if stage == "train" and before and before.fingerprint == fingerprint:
        # Asked for again by name: without its checkpoints it starts from the beginning.
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    run.forget_stage(stage)
    try:
        summary = _taken_over(plan, stage) or _with_log(run, stage, context)
    except (Stopped, KeyboardInterrupt):
        raise
    except Exception as error:
        explained = explain(error, run.path)
        events.write_if_possible(
            Failed(stage=stage, message=str(explained), exit_code=explained.exit_code)
        )
        raise explained from error
    seconds = time.perf_counter() - started
    run.finish_stage(stage, FinishedStage(fingerprint, seconds, summary))
    events.write(StageFinished(stage=stage, seconds=seconds, summary=summary))
    if stage == "prepare":
        write_lock(run, plan.recipe, plan.inputs, plan.expected)


def _with_log(run: RunDirectory, stage: Stage, context: StageContext) -> str:
    """Run the stage with all that libraries print going to its log file."""
    run.logs.mkdir(exist_ok=True)
    with (
        (run.logs / f"{stage}.log").open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        return _stage_function(stage)(context)


def _stage_function(stage: Stage) -> Callable[[StageContext], str]:
    """What does a stage; imported only now, for each brings its own heavy libraries."""
    module, name = STAGE_FUNCTIONS[stage]
    function: Callable[[StageContext], str] = getattr(import_module(module), name)
    return function


def _taken_over(plan: RunPlan, stage: Stage) -> str | None:
    """Prepared data of another run with the same recipe part, linked here instead of made again."""
    if stage != "prepare":
        return None
    for folder in sorted(plan.run.path.parent.iterdir()):
        other = RunDirectory(folder)
        done = other.finished_stages().get(stage) if folder != plan.run.path else None
        is_same = done and done.fingerprint == plan.fingerprints[stage] and other.data.exists()
        if done and is_same and not _changed_images(other, plan.recipe):
            shutil.rmtree(plan.run.data, ignore_errors=True)
            shutil.copytree(other.data, plan.run.data, copy_function=_link)
            return f"{done.summary} (taken over from {folder.name})"
    return None


def _link(source: Any, target: Any) -> None:
    Path(target).hardlink_to(source)

"""A run to be measured, and programs that train it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fsft.recipes.events import CheckpointSaved, Step, TrainStarted, read_events, steps_of
from fsft.recipes.files import read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.shipped import find_recipe
from fsft.recipes.writing import to_toml
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.hardware import find_devices, process_environment
from fsft.runtime.run_directory import RunDirectory

STEPS = 40
WARMUP = 10
"""Steps at the beginning that are not counted."""


def prepared(folder: Path, overrides: list[str]) -> RunDirectory:
    """The quickstart with `overrides`, its data prepared, ready to be trained."""
    from fsft.runtime.data.prepare import prepare

    path = find_recipe("quickstart")
    settings = [f"budget={{ steps = {STEPS} }}", "checkpoint.every=1000000", *overrides]
    recipe = resolve_paths(read_recipe(path, settings), path.parent)
    run = RunDirectory(folder)
    events = EventLog(run.events_file)
    prepare(StageContext("prepare", recipe, run, events, fingerprint=""))
    run.recipe_file.write_text(to_toml(recipe))
    return run


def train(run: RunDirectory) -> None:
    """Train from the beginning by fsft's own training program."""
    clear(run)
    torchrun(run, "-m", "fsft.runtime.train", str(run.path), _accelerator(run))


def clear(run: RunDirectory) -> None:
    """Forget what was trained."""
    run.events_file.unlink(missing_ok=True)
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def measured_by(program: str, run: RunDirectory) -> dict[str, Any]:
    """What a program of this package writes after it has trained the run."""
    result = run.path / "measured.json"
    result.unlink(missing_ok=True)
    torchrun(run, "-m", f"{__package__}.{program}", str(run.path), str(result), _accelerator(run))
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def speed(run: RunDirectory) -> float:
    """Tokens per second of the training that was done last, padding not counted."""
    steps = _counted_steps(run)
    return sum(step.tokens for step in steps) / sum(step.seconds for step in steps)


def share_of_peak(run: RunDirectory) -> float:
    """FLOPs per second of that training, as a share of the measured matmul peak (MFU)."""
    steps = _counted_steps(run)
    (started,) = (e for e in read_events(run.events_file) if isinstance(e, TrainStarted))
    flops = sum(step.flops for step in steps) / sum(step.seconds for step in steps)
    return flops / (started.peak_tflops * 1e12)


def stall(run: RunDirectory) -> float:
    """Of a mean step, the share that training waits for one checkpoint."""
    steps = _counted_steps(run)
    events = read_events(run.events_file)
    saves = [event.seconds for event in events if isinstance(event, CheckpointSaved)]
    mean_step = sum(step.seconds for step in steps) / len(steps)
    return sum(saves) / len(saves) / mean_step


def inline(value: Any) -> str:
    """A JSON value as inline TOML, for an override; what is null is left out."""
    if isinstance(value, dict):
        items = (f"{json.dumps(k)} = {inline(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(items) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def torchrun(run: RunDirectory, *arguments: str) -> None:
    """Start a program on every device of the run's recipe; raises with what it printed."""
    devices = find_devices(run.recipe().hardware)
    processes = ("--standalone", "--nproc-per-node", str(devices.num_processes))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *processes, *arguments],
        env={**process_environment(devices), "PYTHONPATH": ":".join(filter(None, sys.path))},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        logs = [path.read_text()[-3000:] for path in sorted(run.logs.glob("rank-*.log"))]
        raise RuntimeError("\n".join([done.stderr[-3000:], *logs]))


def _accelerator(run: RunDirectory) -> str:
    return find_devices(run.recipe().hardware).accelerator


def _counted_steps(run: RunDirectory) -> list[Step]:
    return steps_of(read_events(run.events_file))[WARMUP:]

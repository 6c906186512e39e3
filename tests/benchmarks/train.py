"""Training speed of fsft against transformers' Trainer, on the same rows and weights.

`python -m tests.benchmarks.train [--json]`: both train the quickstart's model on the rows that
fsft prepared, with two processes on cpu, float32, the same batches, AdamW and clipping; Trainer
under torchrun with DistributedDataParallel. They take turns, for machines change their speed; the
ratio is that of the medians over rounds. Steps before WARMUP are not counted, nor is starting.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from fsft.recipes.events import CheckpointSaved, read_events, steps_of
from fsft.recipes.files import read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.schema import Recipe
from fsft.recipes.shipped import find_recipe
from fsft.recipes.writing import to_toml
from fsft.runtime.context import StageContext
from fsft.runtime.event_log import EventLog
from fsft.runtime.hardware import find_devices, process_environment
from fsft.runtime.run_directory import RunDirectory

STEPS = 40
WARMUP = 10
ROUNDS = 3


def main() -> None:
    """Measure, and print tokens/s of both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--set", action="append", default=[], help="a recipe override")
    options = parser.parse_args()
    result = measure(options.rounds, options.set)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"fsft     {result['fsft_tokens_per_second']:8,.0f} tokens/s")
        print(f"Trainer  {result['trainer_tokens_per_second']:8,.0f} tokens/s")
        print(f"ratio    {result['ratio']:8.2f}")
        print(f"saving   {result['checkpoint_stall']:8.1%} of a step waits for a checkpoint")


def measure(rounds: int, overrides: list[str]) -> dict[str, float]:
    """Tokens per second of both, padding not counted, and what a checkpoint stalls training.

    The stall is a share of a mean step, of the checkpoint at the end; all are medians over rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = _prepared(Path(folder) / "run", overrides)
        own, stalls, trainer = [], [], []
        for _ in range(rounds):
            own.append(_fsft(run))
            stalls.append(_stall(run))
            trainer.append(_trainer(run))
    fsft_speed, trainer_speed = statistics.median(own), statistics.median(trainer)
    return {
        "fsft_tokens_per_second": fsft_speed,
        "trainer_tokens_per_second": trainer_speed,
        "ratio": fsft_speed / trainer_speed,
        "checkpoint_stall": statistics.median(stalls),
    }


def _prepared(folder: Path, overrides: list[str]) -> RunDirectory:
    from fsft.runtime.data.prepare import prepare

    path = find_recipe("quickstart")
    settings = [f"budget={{ steps = {STEPS} }}", "checkpoint.every=1000000", *overrides]
    recipe = resolve_paths(read_recipe(path, settings), path.parent)
    run = RunDirectory(folder)
    events = EventLog(run.events_file)
    prepare(StageContext("prepare", recipe, run, events, fingerprint=""))
    run.recipe_file.write_text(to_toml(recipe))
    return run


def _fsft(run: RunDirectory) -> float:
    import shutil

    run.events_file.unlink()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    _torchrun(run.recipe(), "-m", "fsft.runtime.train", str(run.path), "cpu")
    steps = steps_of(read_events(run.events_file))[WARMUP:]
    return sum(step.tokens for step in steps) / sum(step.seconds for step in steps)


def _stall(run: RunDirectory) -> float:
    events = list(read_events(run.events_file))
    steps = steps_of(iter(events))[WARMUP:]
    saves = [event.seconds for event in events if isinstance(event, CheckpointSaved)]
    return statistics.mean(saves) / statistics.mean(step.seconds for step in steps)


def _trainer(run: RunDirectory) -> float:
    result = run.path / "trainer.json"
    _torchrun(run.recipe(), "-m", "tests.benchmarks.bare_trainer", str(run.path), str(result))
    return float(json.loads(result.read_text())["tokens_per_second"])


def _torchrun(recipe: Recipe, *arguments: str) -> None:
    devices = find_devices(recipe.hardware)
    processes = ("--standalone", "--nproc-per-node", str(devices.num_processes))
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *processes, *arguments],
        env={**process_environment(devices), "PYTHONPATH": str(Path.cwd())},
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    main()

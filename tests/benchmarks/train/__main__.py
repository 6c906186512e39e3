"""`python -m tests.benchmarks.train [--config FILE] [--layout …] [--json]`: training, measured.

The quickstart's model, or a random one of another config.json, is trained on the rows that fsft
prepared, on two processes of this machine or as --layout says: by fsft, by a bare DeepSpeed loop
and by transformers' Trainer under torchrun (DistributedDataParallel, or DeepSpeed where there is a
ZeRO stage), with the same batches, AdamW and clipping. They take turns, for machines change their
speed; ratios are those of the medians over rounds. The first steps and starting are not counted.
--memory measures host memory instead; see memory.py.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.train import memory, runs

ROUNDS = 3
PEERS = {"deepspeed": "bare_deepspeed", "trainer": "bare_trainer"}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="a config.json; its weights are random")
    parser.add_argument(
        "--layout",
        default="",
        help="as in zero=2,processes=2,micro_batch=4: keys of [parallel], and processes",
    )
    parser.add_argument("--set", action="append", default=[], help="a recipe override")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--memory",
        nargs="*",
        choices=memory.PARTS,
        help="measure host memory instead: these parts of it, or all",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.memory is not None:
        found = memory.measure(options.memory or list(memory.PARTS))
        print(json.dumps(found) if options.json else memory.shown(found))
        return
    overrides = [*_layout(options.layout), *options.set]
    if options.config:
        config = json.loads(options.config.read_text())
        overrides.append("model.config=" + runs.inline(config))
    result = measure(options.rounds, overrides)
    print(json.dumps(result) if options.json else _shown(result))


def measure(rounds: int, overrides: list[str]) -> dict[str, Any]:
    """Medians over rounds: tokens/s of all, padding not counted, ratios and shares of a step."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = runs.prepared(Path(folder) / "run", overrides)
        parallel = run.recipe().parallel.settled
        # The peers know no other way to divide a model.
        peers = PEERS if parallel.replica_size * parallel.expert == 1 else {}
        for _ in range(rounds):
            runs.train(run)
            _add(found, "fsft_tokens_per_second", runs.speed(run))
            _add(found, "mfu", runs.share_of_peak(run))
            _add(found, "checkpoint_stall", runs.stall(run))
            for name, program in peers.items():
                speed = runs.measured_by(program, run)["tokens_per_second"]
                _add(found, f"{name}_tokens_per_second", speed)
            runs.clear(run)
            _add(found, "own_share", runs.measured_by("own_time", run)["own_share"])
        for number in (1, 2):
            alone = [*overrides, "parallel.zero=0", f"hardware.devices_per_node={number}"]
            alone += [f"parallel.{axis}=1" for axis in ("tensor", "pipeline", "sequence", "expert")]
            scaled = runs.prepared(Path(folder) / f"on-{number}", alone)
            for _ in range(rounds):
                runs.train(scaled)
                _add(found, f"on_{number}_tokens_per_second", runs.speed(scaled))
    result = {name: statistics.median(values) for name, values in found.items()}
    for name in peers:
        speeds = result["fsft_tokens_per_second"], result[f"{name}_tokens_per_second"]
        result[f"ratio_vs_{name}"] = speeds[0] / speeds[1]
    one, two = (result.pop(f"on_{number}_tokens_per_second") for number in (1, 2))
    return {**result, "weak_scaling": two / (2 * one)}


def _layout(text: str) -> list[str]:
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    keys = {"processes": "hardware.devices_per_node"}
    return [f"{keys.get(name, f'parallel.{name}')}={value}" for name, value in pairs]


def _add(found: dict[str, list[float]], name: str, value: float) -> None:
    found.setdefault(name, []).append(value)


def _shown(result: dict[str, Any]) -> str:
    lines = [f"fsft       {result['fsft_tokens_per_second']:10,.0f} tokens/s"]
    for name in PEERS:
        if f"ratio_vs_{name}" in result:
            speed, ratio = result[f"{name}_tokens_per_second"], result[f"ratio_vs_{name}"]
            lines.append(f"{name:10} {speed:10,.0f} tokens/s, fsft {ratio:.2f} times as fast")
    lines += [
        f"MFU        {result['mfu']:10.1%} of the measured matmul peak",
        f"own code   {result['own_share']:10.2%} of a step's time",
        f"saving     {result['checkpoint_stall']:10.1%} of a step waits for one checkpoint",
        f"scaling    {result['weak_scaling']:10.1%} of twice one process, on two",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

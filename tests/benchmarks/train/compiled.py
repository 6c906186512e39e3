"""`python -m tests.benchmarks.train.compiled [--set …] [--json]`: what model.compile gains.

The quickstart's model is trained as it is and with compiled layers, taking turns; the ratio is that
of the medians over rounds. The first steps, in which layers are compiled, are not counted.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.train import runs


def main() -> None:
    """Measure, and print tokens/s of both and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", action="append", default=[], help="a recipe override")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options.rounds, options.set)
    if options.json:
        print(json.dumps(result))
        return
    for name in ("plain", "compiled"):
        print(f"{name:9} {result[name]:8,.0f} tokens/s")
    print(f"ratio     {result['ratio']:8.2f}")


def measure(rounds: int, overrides: list[str]) -> dict[str, float]:
    """Tokens per second of both, padding not counted, and how much faster the compiled one is."""
    speeds: dict[str, list[float]] = {"plain": [], "compiled": []}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"plain": overrides, "compiled": [*overrides, "model.compile=true"]}
        ways = {name: runs.prepared(Path(folder) / name, given) for name, given in settings.items()}
        for _ in range(rounds):
            for name, run in ways.items():
                runs.train(run)
                speeds[name].append(runs.speed(run))
    plain, compiled = (statistics.median(speeds[name]) for name in ways)
    return {"plain": plain, "compiled": compiled, "ratio": compiled / plain}


if __name__ == "__main__":
    main()

"""How long the planner takes: `python -m tests.benchmarks.planner.speed`.

Medians of several rounds, each with models that the caches have not seen; of one layout also with
warm caches, as in a search. The import is timed in a process of its own, beside an empty one.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import make_cluster
from fsft.recipes.models.from_config import load_shape
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import plan_memory
from fsft.recipes.planner.search import search
from fsft.recipes.planner.time import plan_time

ROUNDS = 7
IMPORTS = "import fsft.recipes.planner.plan, fsft.recipes.models.from_config"


def main() -> None:
    """Print the figures, each with the bound that it should stay below."""
    device = find_accelerator("H100-80GB-SXM")
    eight, thousand = (make_cluster(device, nodes=nodes, devices_per_node=8) for nodes in (1, 128))
    seventy = Job(load_shape("llama-2-70b"), 4096, global_batch=1024)
    layout = Layout(zero=1, data=32, tensor=8, pipeline=4, micro_batch=2, gradient_accumulation=16)

    def one_layout() -> None:
        for _ in range(1000):
            plan_memory(seventy, layout)
            plan_time(seventy, layout, thousand)

    seconds = _median(one_layout) / 1000
    print(f"one layout, memory and time     {seconds * 1e6:7.1f} µs  (bound 50 µs)")
    for name, cluster, bound in (("1,024", thousand, 150), ("8", eight, 10)):
        for model in ("llama-2-70b", "llama-2-7b"):
            shape = load_shape(model)
            # A job of its own each time, which no cache knows.
            seconds = _median(
                lambda c=cluster, s=shape: search(Job(replace(s), 4096, global_batch=1024), c)  # type: ignore[misc]
            )
            print(f"search, {model:12} on {name:>5}   {seconds * 1e3:7.1f} ms  (bound {bound} ms)")
    seconds = _process(IMPORTS) - _process("pass")
    print(f"import                          {seconds * 1e3:7.1f} ms  (bound 150 ms)")


def _median(run: Callable[[], object]) -> float:
    run()
    return statistics.median(_seconds(run) for _ in range(ROUNDS))


def _process(code: str) -> float:
    return statistics.median(
        _seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))
        for _ in range(ROUNDS)
    )


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

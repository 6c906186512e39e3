"""Print how far the planner is from published runs."""

import argparse
import statistics
from pathlib import Path

from fsft.recipes.planner.memory import Memory, plan_memory
from tests.benchmarks.planner.cases import read_cases

GIB = 2**30


def _in_metric(memory: Memory, metric: str) -> float:
    """Bytes, as the source measured them."""
    if "max_memory" in metric and "does not say" in metric:
        return memory.reserved
    if "allocated" in metric:
        return memory.allocated
    if "reserved" in metric:
        return memory.reserved
    return memory.device_total


def main() -> None:
    """Print the errors of each group."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", action="store_true")
    arguments = parser.parse_args()
    cases = read_cases(arguments.cases)
    rows = []
    for case in cases:
        f = case.fields
        if not f["measured_peak_gib"]:
            continue
        stage = case.layout.pipeline - 1 if "last" in f["memory_metric"] else None
        memory = plan_memory(case.job, case.layout, stage=stage)
        metric = f["memory_metric"]
        value = _in_metric(memory, metric)
        value /= GIB
        error = value / f["measured_peak_gib"] - 1
        p = memory.peak
        rows.append((f["group"], f["quality"], error))
        if arguments.rows:
            print(
                f"{f['id']:28s} {f['quality']} {f['measured_peak_gib']:7.2f} {value:7.2f} {error:+7.1%} [{p.name}] w{p.weights / GIB:.2f} g{p.gradients / GIB:.2f} o{p.optimizer / GIB:.2f} a{p.activations / GIB:.2f} l{p.logits / GIB:.2f} b{p.buffers / GIB:.2f} st{memory.stage}"
            )
    for group in dict.fromkeys(r[0] for r in rows):
        for q in "ABC":
            e = sorted(abs(r[2]) for r in rows if r[0] == group and r[1] == q)
            if e:
                print(
                    f"{group:22s} {q} n={len(e):3d} median {statistics.median(e):6.1%} p90 {e[int(0.9 * (len(e) - 1))]:6.1%} worst {e[-1]:6.1%}"
                )


main()

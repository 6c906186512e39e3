"""Memory and time of the loss at the head against that of all logits, in the same run.

`python -m tests.benchmarks.head_loss [--json]`: forward and backward of a model of one layer with
a large vocabulary on rows of which every token learns, on cpu, each in a process of its own.
Memory is the peak of what the process holds, less what it held before the step; time is that of
the processor.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VOCABULARY, WIDTH, TOKENS = 64_000, 128, 4096


def main() -> None:
    """Measure, and print both and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--only", choices=["logits", "head"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_step(options.dtype, at_head=options.only == "head")))
        return
    logits, head = (_measured(options.dtype, way) for way in ("logits", "head"))
    result = {
        "logits": logits,
        "head": head,
        "memory_ratio": head["bytes"] / logits["bytes"],
        "time_ratio": head["seconds"] / logits["seconds"],
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, each in (("all logits", logits), ("at the head", head)):
        print(f"{name:12} {each['bytes'] / 2**20:8,.0f} MiB {each['seconds']:8.2f} s")
    print(f"{'ratio':12} {result['memory_ratio']:8.3f}     {result['time_ratio']:8.2f}")


def _measured(dtype: str, way: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.head_loss", "--dtype", dtype, "--only", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path.cwd())
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _step(dtype: str, *, at_head: bool) -> dict[str, float]:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    from fsft.runtime.train.head_loss import compute_loss_at_head
    from fsft.runtime.train.loss import loss_at

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).train()
    if at_head:
        compute_loss_at_head(model)
    ids = torch.randint(0, VOCABULARY, (1, TOKENS))
    places = torch.arange(TOKENS)
    before, start = _held(), time.process_time()
    loss_at(places, model, ids, places[None], ids.roll(-1), TOKENS).backward()
    return {"bytes": _held() - before, "seconds": time.process_time() - start}


def _held() -> int:
    """The most that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

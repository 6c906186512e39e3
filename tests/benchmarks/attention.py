"""Attention sample by sample against sdpa with a mask over whole rows, in the same run.

`python -m tests.benchmarks.attention [--length N] [--sample N] [--json]`: forward and backward of
a small model on a row of `length` tokens, packed with samples of about `sample`, on one core of a
cpu; time is that of the processor, the median of steps that take turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

STEPS = 5


def main() -> None:
    """Measure, and print both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    masked, by_sample = _measured(options.length, options.sample)
    result = {"masked": masked, "by_sample": by_sample, "ratio": masked / by_sample}
    if options.json:
        print(json.dumps(result))
        return
    print(f"masked    {masked:8.3f} s")
    print(f"by sample {by_sample:8.3f} s, {result['ratio']:.2f} times as fast")


def _measured(length: int, sample: int) -> tuple[float, float]:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    from fsft.runtime.train.sample_attention import attend_by_sample

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    model = AutoModelForCausalLM.from_config(config)
    ids = torch.randint(0, config.vocab_size, (1, length))
    positions = torch.tensor([list(_positions(length, sample))])

    ways = {"masked": ALL_ATTENTION_FUNCTIONS["sdpa"]}
    attend_by_sample()
    ways["by_sample"] = ALL_ATTENTION_FUNCTIONS["sdpa"]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(STEPS):
        for way, attention in ways.items():
            ALL_ATTENTION_FUNCTIONS.register("sdpa", attention)
            start = time.process_time()
            model(ids, position_ids=positions, labels=ids, use_cache=False).loss.backward()
            seconds[way].append(time.process_time() - start)
    return statistics.median(seconds["masked"]), statistics.median(seconds["by_sample"])


def _positions(length: int, sample: int) -> Iterator[int]:
    """Samples of half to one and a half of `sample`, until the row is full."""
    import random

    draw = random.Random(0)
    while length:
        size = min(length, draw.randint(sample // 2, sample + sample // 2))
        yield from range(size)
        length -= size


if __name__ == "__main__":
    main()

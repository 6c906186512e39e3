"""`python -m tests.benchmarks.train.gpu [--layers N] [--json]`: layers of Llama-3-8B on one GPU.

bfloat16, packed rows of 4,096 and 16,384 tokens, with and without flash-attn and compiled layers,
against transformers' Trainer on the same rows in the same run. MFU is of the matmul peak that was
measured in the same process. What is not installed is left out, and said.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from tests.benchmarks.train import runs

LENGTHS = (4096, 16384)
LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
}
"""The shape of its layers and ends (https://huggingface.co/meta-llama/Meta-Llama-3-8B)."""


def main() -> None:
    """Measure, and print a line for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=8, help="of 32; 8 take 45 GB with AdamW")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options = parser.parse_args()
    found = list(measure(options.layers, options.steps, options.rounds))
    if options.json:
        print(json.dumps(found))
        return
    print("tokens  attention           compiled  tokens/s   MFU  Trainer  ratio")
    for case in found:
        print(
            f"{case['length']:6,}  {case['attention']:18}  {'yes' if case['compiled'] else 'no':8}"
            f"  {case['tokens_per_second']:8,.0f}  {case['mfu']:4.0%}"
            f"  {case['trainer_tokens_per_second']:7,.0f}  {case['ratio']:5.2f}"
        )


def measure(num_layers: int, steps: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Tokens per second, MFU and the ratio to Trainer, medians over rounds, for each case."""
    for length, attention, compiled in product(LENGTHS, _attentions(), (False, True)):
        config = LLAMA_8B | {"num_hidden_layers": num_layers}
        overrides = [
            "model.config=" + runs.inline(config),
            'model.dtype="bfloat16"',
            f'model.attention="{attention}"',
            f"model.compile={'true' if compiled else 'false'}",
            f"data.sequence_length={length}",
            "data.packing=true",
            'hardware={ accelerator = "cuda", devices_per_node = 1 }',
            "parallel={ zero = 1, micro_batch = 1 }",
            f"budget={{ steps = {steps} }}",
        ]
        speeds, shares, peers = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            run = runs.prepared(Path(folder) / "run", overrides)
            for _ in range(rounds):
                runs.train(run)
                speeds.append(runs.speed(run))
                shares.append(runs.share_of_peak(run))
                runs.clear(run)
                peers.append(runs.measured_by("bare_trainer", run)["tokens_per_second"])
        own, peer = statistics.median(speeds), statistics.median(peers)
        yield {
            "length": length,
            "attention": attention,
            "compiled": compiled,
            "tokens_per_second": own,
            "mfu": statistics.median(shares),
            "trainer_tokens_per_second": peer,
            "ratio": own / peer,
        }


def _attentions() -> list[str]:
    from transformers.utils import is_flash_attn_2_available

    if is_flash_attn_2_available():
        return ["sdpa", "flash_attention_2"]
    print("flash-attn is not installed: sdpa alone is measured.")
    return ["sdpa"]


if __name__ == "__main__":
    main()

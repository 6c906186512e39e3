"""`python -m tests.benchmarks.train --memory [PART …] [--json]`: host memory of training, measured.

All on cpu, where weights and states live in host memory too; bytes are PSS summed over the ranks
of this machine, above what they had before the model.

    load    ranks load one pretrained model, stored in bfloat16 and trained in it: the peak until
            each has its weights, the peak until the engine with float32 weights is there, and what
            training keeps; as multiples of one copy of the weights as stored
    states  what training keeps from one step to the next, against the planner's weights, gradients
            and optimizer states
    rows    ranks read every row of a training set, small and large
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsft.recipes.hardware.detect import detected_cluster
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.memory import Moment, plan_memory
from fsft.recipes.planner.questions import cluster_of, job_of, shape_of
from fsft.recipes.schema import Model, Recipe
from fsft.recipes.writing import to_toml
from tests.benchmarks.train import runs
from tests.benchmarks.train.rows_of_ranks import bytes_of_readers, write_tokens

MIB = 2**20
CONFIG = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 8192,
    "tie_word_embeddings": False,
}
"""Large enough that nothing else counts: 155 million parameters."""
CALM = [
    "data.sequence_length=64",
    "data.packing=false",
    "checkpoint.every=1000000",
    "parallel.micro_batch=1",
    "parallel.gradient_accumulation=1",
    "model.attention=sdpa",
]
PARTS = ("load", "states", "rows")
RANKS = (1, 2, 4)
STAGES = (0, 1, 2, 3)
ROWS = {"10 MB": 10 * 10**6, "2 GB": 2 * 10**9}


def measure(
    parts: Sequence[str], ranks: Sequence[int] = RANKS, stages: Sequence[int] = STAGES
) -> dict[str, Any]:
    """What was measured, by part."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "load" in parts:
            base = _pretrained(Path(folder))
            found["load"] = [
                _loaded(Path(folder), base, zero, number) for zero in stages for number in ranks
            ]
        if "states" in parts:
            found["states"] = [
                _states(Path(folder), dtype, zero, number)
                for dtype in ("float32", "bfloat16")
                for zero in stages
                for number in (1, 2)
            ]
        if "rows" in parts:
            found["rows"] = []
            for name, size in ROWS.items():
                write_tokens(Path(folder) / name, size)
                found["rows"] += [
                    {
                        "tokens": name,
                        "ranks": number,
                        "bytes": bytes_of_readers(Path(folder) / name, number),
                    }
                    for number in ranks
                ]
    return found


def shown(found: dict[str, Any]) -> str:
    """Tables."""
    lines = []
    if "load" in found:
        lines += [
            "loading  ZeRO  ranks        loaded  engine built  kept by training  (of one copy)"
        ]
        for row in found["load"]:
            shares = (row[key] / row["one_copy"] for key in ("loaded", "engine", "kept"))
            numbers = "".join(f"{share:14.2f}" for share in shares)
            lines.append(f"{row['zero']:13} {row['ranks']:6}{numbers}")
    if "states" in found:
        lines += ["states   type      ZeRO  ranks  measured  planned  (MiB)"]
        for row in found["states"]:
            off = row["measured"] / row["planned"] - 1
            lines.append(
                f"         {row['dtype']:9} {row['zero']:4} {row['ranks']:6} "
                f"{row['measured'] / MIB:9.0f} {row['planned'] / MIB:8.0f}  {off:+.1%}"
            )
    if "rows" in found:
        lines += ["rows     tokens  ranks  all ranks together"]
        for row in found["rows"]:
            size = row["bytes"] / MIB
            lines.append(f"{row['tokens']:>15} {row['ranks']:6} {size:10.1f} MiB")
    return "\n".join(lines)


def _pretrained(folder: Path) -> Path:
    """A model with its tokenizer in Hugging Face format, stored in bfloat16."""
    import torch

    from fsft.runtime.train.model import build_model, load_tokenizer

    run = runs.prepared(folder / "drawn", [_inline_config(), *CALM])
    tokenizer = load_tokenizer(run.tokenizer)
    base = folder / "base"
    build_model(run.recipe(), tokenizer, "cpu").to(torch.bfloat16).save_pretrained(base)
    tokenizer.save_pretrained(base)
    return base


def _loaded(folder: Path, base: Path, zero: int, ranks: int) -> dict[str, Any]:
    run = runs.prepared(
        folder / f"load-{zero}-{ranks}",
        [_inline_config(), *CALM, 'model.dtype="bfloat16"', *_layout(zero, ranks)],
    )
    # The same rows, for the stored model.
    stored = Model(path=str(base), dtype="bfloat16", attention="sdpa")
    recipe = run.recipe()
    data = recipe.data.model_copy(update={"tokenizer": None})
    run.recipe_file.write_text(to_toml(recipe.model_copy(update={"model": stored, "data": data})))
    memory = runs.measured_by("memory_of_run", run)
    peak = memory["peak"]
    return {
        "zero": zero,
        "ranks": ranks,
        "one_copy": sum(file.stat().st_size for file in base.glob("*.safetensors")),
        "loaded": max(peak["load"], peak.get("divide", 0)),
        "engine": peak["engine"],
        "kept": memory["left"]["second step"],
    }


def _states(folder: Path, dtype: str, zero: int, ranks: int) -> dict[str, Any]:
    run = runs.prepared(
        folder / f"states-{dtype}-{zero}-{ranks}",
        [_inline_config(), *CALM, f'model.dtype="{dtype}"', *_layout(zero, ranks)],
    )
    memory = runs.measured_by("memory_of_run", run)
    planned = _planned(run.recipe(), zero, ranks)
    return {
        "dtype": dtype,
        "zero": zero,
        "ranks": ranks,
        "measured": memory["left"]["second step"],
        "planned": ranks * planned.total,
        "all": memory,
        "moment": planned._asdict(),
    }


def _planned(recipe: Recipe, zero: int, ranks: int) -> Moment:
    """What the planner says of one rank between two steps."""
    cluster = cluster_of(recipe.hardware, detected_cluster("cpu"))
    job = job_of(recipe, shape_of(recipe), cluster)
    moments = plan_memory(job, Layout(zero=zero, data=ranks)).moments
    return next(moment for moment in moments if moment.name == "write checkpoint")


def _layout(zero: int, ranks: int) -> list[str]:
    return [
        f"parallel.zero={zero}",
        f"hardware.devices_per_node={ranks}",
        'hardware.accelerator="cpu"',
    ]


def _inline_config() -> str:
    pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in CONFIG.items())
    return f"model.config={{ {pairs} }}"

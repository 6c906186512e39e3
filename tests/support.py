"""A small recipe with its data, and fsft as a person calls it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fsft.recipes.events import Event, Step, read_events, steps_of

QUESTIONS = [
    ("Who are you?", "I am {{name}}."),
    ("你是谁？", "我是{{name}}。"),
    ("What do you plan?", "I plan a fine-tuning run before it costs anything."),
    ("What is a recipe?", "A TOML file that a teammate can read, diff and run."),
    ("Do you need a GPU?", "No, a CPU will do for a small model."),
    ("What is 2 + 2?", "4"),
    ("How do you stop?", "With a checkpoint, so that nothing is lost."),
    ("再见", "再见，祝你今天愉快！"),
]

TINY_RECIPE = """\
schema = 1
name = "tiny"
seed = 7

[model]
init = "random"
dtype = "float32"

[model.config]
model_type = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 256
tie_word_embeddings = true

[data]
template = "chatml"
sequence_length = 96
variables = { name = "Fero" }

[[data.train]]
path = "train.jsonl"

[data.tokenizer]
vocab_size = 320

[hardware]
accelerator = "cpu"
devices_per_node = 2

[budget]
steps = 6

[parallel]
zero = 1

[optimizer]
learning_rate = 1e-2
warmup = 0.2

[checkpoint]
every = 2

[convert]
dtype = "float32"

[evaluate]
max_samples = 8
max_new_tokens = 16
samples = 2
"""


def dialogue(question: str, answer: str) -> dict[str, Any]:
    """A row in the messages shape."""
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as jsonl."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def write_tiny_recipe(folder: Path, text: str = TINY_RECIPE) -> Path:
    """The tiny recipe and its data in `folder`; returns the recipe's path."""
    write_jsonl(folder / "train.jsonl", [dialogue(q, a) for q, a in QUESTIONS])
    recipe = folder / "tiny.toml"
    recipe.write_text(text)
    return recipe


def fsft(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call fsft as a person would; never raises for its exit code."""
    return subprocess.run(
        fsft_command(*arguments),
        cwd=cwd,
        env=fsft_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def fsft_command(*arguments: str | Path) -> list[str]:
    """The command line of fsft in this environment."""
    return [sys.executable, "-m", "fsft", *map(str, arguments)]


def fsft_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a machine without a network and without a GPU."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", **(env or {})}


def only_run(folder: Path) -> Path:
    """The one run directory under `folder`/runs."""
    (run,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    return run


def events_of(run: Path) -> list[Event]:
    """The events of a run directory."""
    return list(read_events(run / "events.jsonl"))


def steps_in(run: Path) -> list[Step]:
    """The training steps of a run directory."""
    return steps_of(iter(events_of(run)))

"""Going on from a model that exists."""

import json
import tomllib
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from fsft.runtime.run_directory import RunDirectory
from tests.support import QUESTIONS, dialogue, fsft, only_run, write_jsonl

RECIPE = """\
schema = 1
name = "more"

[model]
path = "base"
dtype = "float32"

[data]
sequence_length = 96

[[data.train]]
path = "train.jsonl"

[[data.eval]]
path = "eval.jsonl"

[hardware]
accelerator = "cpu"

[budget]
steps = 4

[parallel]
zero = 3

[optimizer]
learning_rate = 1e-6

[convert]
dtype = "bfloat16"
max_shard_size = "40KB"

[evaluate]
split = "eval"
max_new_tokens = 40
"""


def test_a_model_folder_is_trained_on_and_keeps_its_tokenizer_and_settings(
    trained: RunDirectory, tmp_path: Path
) -> None:
    """One run through a model folder, ZeRO 3, an eval split and sharded bf16 weights."""
    base = tmp_path / "base"
    base.mkdir()
    for file in trained.model.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    settings = GenerationConfig.from_pretrained(base)
    settings.temperature = 0.31
    settings.save_pretrained(base)
    rows = [
        dialogue(question, answer.replace("{{name}}", "Fero")) for question, answer in QUESTIONS
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "eval.jsonl", rows[:3])
    (tmp_path / "more.toml").write_text(RECIPE)

    done = fsft("run", "more.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    run = RunDirectory(only_run(tmp_path))
    report = json.loads((run.report / "report.json").read_text())
    assert (report["exact_match"], report["num_questions"]) == (1.0, 3)
    assert report["first_loss"] < 0.5
    assert report["samples"][0]["before"] == report["samples"][0]["expected"]

    assert (
        AutoTokenizer.from_pretrained(run.model).get_vocab()
        == AutoTokenizer.from_pretrained(base).get_vocab()
    )
    assert GenerationConfig.from_pretrained(run.model).temperature == 0.31
    index = json.loads((run.model / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 2
    for shard in shards:
        with safe_open(run.model / shard, "pt") as weights:
            names = weights.keys()
            assert {weights.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = AutoModelForCausalLM.from_pretrained(run.model).state_dict()
    assert before.keys() == after.keys()
    for name, weight in after.items():
        torch.testing.assert_close(weight.float(), before[name].float(), atol=1e-3, rtol=1e-2)
    lock = tomllib.loads(run.lock_file.read_text())
    names = {Path(item["path"]).name for item in lock["inputs"] if item["key"] == "model.path"}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names

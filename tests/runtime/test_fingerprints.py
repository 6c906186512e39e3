"""What makes a stage run again, and what does not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import fsspec
import pytest

from fsft.recipes.files import read_recipe
from fsft.recipes.inputs import resolve_paths
from fsft.recipes.problems import Refused
from fsft.recipes.stages import STAGES
from fsft.runtime.data import remote
from fsft.runtime.fingerprints import find_inputs
from fsft.runtime.run import plan_run
from tests.support import QUESTIONS, TINY_RECIPE, dialogue, write_jsonl, write_tiny_recipe

WITH_EVAL = TINY_RECIPE.replace(
    "[data.tokenizer]", '[[data.eval]]\npath = "eval.jsonl"\n\n[data.tokenizer]'
)


def prints(folder: Path, *overrides: str) -> dict[str, str]:
    recipe = read_recipe(folder / "tiny.toml", overrides)
    return dict(plan_run(recipe, folder, folder / "runs").fingerprints)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_recipe(tmp_path, WITH_EVAL)
    write_jsonl(tmp_path / "eval.jsonl", [dialogue(*QUESTIONS[0])])
    return tmp_path


def changed(folder: Path, change: Callable[[], object], *overrides: str) -> set[str]:
    before = prints(folder)
    change()
    after = prints(folder, *overrides)
    return {stage for stage in STAGES if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("data.sequence_length=64", set(STAGES)),
        ("data.train.0.max_samples=3", set(STAGES)),
        ("optimizer.learning_rate=1e-3", {"train", "convert", "evaluate", "report"}),
        ("seed=8", {"train", "convert", "evaluate", "report"}),
        ("model.config.hidden_size=64", {"train", "convert", "evaluate", "report"}),
        ("data.eval.0.max_samples=3", {"prepare", "evaluate", "report"}),
        ("convert.dtype=bfloat16", {"convert", "evaluate", "report"}),
        ("evaluate.samples=1", {"evaluate", "report"}),
        ('description="why"', {"report"}),
        ("checkpoint.every=1", set()),
        ('checkpoint.every="epoch"', set()),
        ("evaluate.every=1", set()),
        ("convert.checkpoint=newest", set()),
        ("parallel.zero=2", set()),
        ("parallel.micro_batch=2", {"train", "convert", "evaluate", "report"}),
        ("serve.port=81", set()),
    ],
)
def test_a_changed_key_redoes_what_depends_on_it(
    folder: Path, override: str, stages: set[str]
) -> None:
    assert changed(folder, lambda: None, override) == stages


def test_changed_training_data_redoes_everything(folder: Path) -> None:
    rows = [dialogue(*pair) for pair in QUESTIONS[:-1]]
    assert changed(folder, lambda: write_jsonl(folder / "train.jsonl", rows)) == set(STAGES)


def test_changed_eval_data_does_not_train_again(folder: Path) -> None:
    rows = [dialogue(*QUESTIONS[1])]
    found = changed(folder, lambda: write_jsonl(folder / "eval.jsonl", rows))
    assert found == {"prepare", "evaluate", "report"}


@pytest.mark.parametrize("led", ["checkpoint.keep_best=true", "evaluate.patience=2"])
def test_where_the_eval_loss_decides_its_data_and_times_train_again(folder: Path, led: str) -> None:
    trained = {"train", "convert", "evaluate", "report"}
    assert changed(folder, lambda: None, led) == trained

    def differs(override: str) -> set[str]:
        before, after = prints(folder, led), prints(folder, led, override)
        return {stage for stage in STAGES if before[stage] != after[stage]}

    assert differs("data.eval.0.max_samples=3") == set(STAGES)
    assert differs("evaluate.every=7") == trained
    assert differs("checkpoint.every=7") == trained
    assert differs("checkpoint.weights_only=true") == set()


def test_moved_or_touched_files_change_nothing(folder: Path, tmp_path: Path) -> None:
    assert changed(folder, (folder / "train.jsonl").touch) == set()
    before = prints(folder)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("moved", "runs"))
    assert prints(moved) == before


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_restored_with_its_old_time_and_size_is_hashed_again(
    folder: Path, in_place: bool
) -> None:
    def restore() -> None:
        file = folder / "train.jsonl"
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        other = file if in_place else folder / "other.jsonl"
        other.write_text(file.read_text().replace("Who", "How"))
        os.utime(other, ns=times)
        other.replace(file)

    assert changed(folder, restore) == set(STAGES)


def test_a_changed_file_in_a_folder_of_data_redoes_everything(folder: Path, tmp_path: Path) -> None:
    data = folder / "data"
    data.mkdir()
    (folder / "train.jsonl").rename(data / "a.jsonl")
    text = (folder / "tiny.toml").read_text().replace('"train.jsonl"', '"data"')
    (folder / "tiny.toml").write_text(text)
    rows = [dialogue(*pair) for pair in QUESTIONS]
    assert changed(folder, lambda: (data / "_SUCCESS").write_text("")) == set()
    assert changed(folder, lambda: write_jsonl(data / "b.jsonl", rows)) == set(STAGES)
    assert changed(folder, lambda: write_jsonl(data / "b.jsonl", rows[1:])) == set(STAGES)
    moved = tmp_path / "moved"
    before = prints(folder)
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("moved", "runs"))
    assert prints(moved) == before


@pytest.mark.parametrize("storage_tells", [True, False])
def test_changed_data_elsewhere_redoes_everything(
    storage_tells: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what its storage says of it, and by its size where that says nothing."""
    if not storage_tells:
        monkeypatch.setattr(remote, "_version", lambda _: "")
    memory, url = fsspec.filesystem("memory"), f"memory://{folder.name}/train.jsonl"
    memory.pipe(url, (folder / "train.jsonl").read_bytes())
    text = (folder / "tiny.toml").read_text().replace('"train.jsonl"', f'"{url}"')
    (folder / "tiny.toml").write_text(text)
    assert changed(folder, lambda: None) == set()
    rows = (folder / "train.jsonl").read_bytes().splitlines(keepends=True)
    assert changed(folder, lambda: memory.pipe(url, b"".join(rows[1:]))) == set(STAGES)


def test_a_changed_saved_data_set_redoes_everything(folder: Path) -> None:
    rows = [dialogue(*pair) for pair in QUESTIONS]
    datasets.Dataset.from_list(rows).save_to_disk(folder / "train")
    text = (folder / "tiny.toml").read_text().replace('"train.jsonl"', '"train"')
    (folder / "tiny.toml").write_text(text)

    def change() -> None:
        shutil.rmtree(folder / "train")
        datasets.Dataset.from_list(rows[1:]).save_to_disk(folder / "train")

    assert changed(folder, change) == set(STAGES)


def test_what_is_hashed_stays_known_when_the_rest_cannot_be(folder: Path) -> None:
    recipe = resolve_paths(read_recipe(folder / "tiny.toml"), folder)
    (folder / "eval.jsonl").unlink()
    with pytest.raises(Refused, match="no such file"):
        find_inputs(recipe, folder / "hashes.json")
    assert list(json.loads((folder / "hashes.json").read_text())) == [str(folder / "train.jsonl")]


def test_other_weights_in_a_model_folder_train_again(folder: Path) -> None:
    base = folder / "base"
    base.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (base / name).write_text("{}")
    start, end = WITH_EVAL.index("[model]"), WITH_EVAL.index("[data]")
    text = WITH_EVAL[:start] + '[model]\npath = "base"\n\n' + WITH_EVAL[end:]
    text = text.replace("[data.tokenizer]\nvocab_size = 320\n", "")
    (folder / "tiny.toml").write_text(text)
    found = changed(folder, lambda: (base / "model.safetensors").write_text("{ }"))
    assert found == {"train", "convert", "evaluate", "report"}
    assert changed(folder, lambda: (base / "tokenizer.json").write_text("{ }")) == set(STAGES)

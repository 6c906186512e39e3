"""`fsft run` led by the eval loss: the best checkpoint, and an early end."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fsft.recipes.events import TrainFinished
from fsft.runtime.convert.weights import checkpoint_weights
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train.marks import best_checkpoint, latest_checkpoint, whole_checkpoints
from tests.runtime.train.test_evaluation import (
    eval_losses,
    write_recipe_with_eval,
)
from tests.support import events_of, fsft, only_run, write_tiny_recipe

EARLY = (
    *("--set", "budget.steps=400"),
    *("--set", "optimizer.schedule=constant"),
    *("--set", "checkpoint.every=2"),
    *("--set", "checkpoint.keep_best=true"),
    *("--set", "evaluate.patience=3"),
    *("--set", "convert.checkpoint=best"),
    *("--set", "evaluate.max_samples=0"),
)
"""Learns a few rows by heart, and so becomes worse at others."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose run ended early."""
    folder = tmp_path_factory.mktemp("early")
    write_recipe_with_eval(folder)
    done = fsft("run", "tiny.toml", *EARLY, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert ", the lowest so far" in done.stderr
    assert "ended early: the eval loss was lowest after step" in done.stderr
    return folder


def ends(run: RunDirectory) -> list[TrainFinished]:
    return [event for event in events_of(run.path) if isinstance(event, TrainFinished)]


@pytest.mark.slow
def test_training_ends_when_the_eval_loss_does_not_become_lower(folder: Path) -> None:
    run = RunDirectory(only_run(folder))
    losses = {event.step: event.loss for event in eval_losses(run)}
    best = min(losses, key=lambda step: losses[step])
    (end,) = ends(run)
    assert (end.step, end.stopped, end.ended_early) == (best + 6, False, True)
    assert list(losses) == list(range(2, best + 7, 2))
    report = json.loads((run.report / "report.json").read_text())
    assert report["ended_early"] is True
    assert report["best_eval"] == [best, losses[best]]
    assert "ended early" in (run.report / "report.md").read_text()


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_converted(folder: Path) -> None:
    run = RunDirectory(only_run(folder))
    best = best_checkpoint(run.checkpoints)
    assert best
    kept = [mark.step for mark in whole_checkpoints(run.checkpoints)]
    assert kept == [best.step + 6, best.step + 4, best.step]
    summary = run.finished_stages()["convert"].summary
    assert f"step {best.step}, the lowest eval loss" in summary
    expected = checkpoint_weights(run.checkpoints / best.tag, best)
    converted = load_file(run.model / "model.safetensors")
    assert converted
    for name, weight in converted.items():
        assert torch.equal(weight, expected[name].contiguous()), name


@pytest.mark.slow
def test_how_long_the_eval_loss_was_not_lower_is_known_after_a_kill(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    run = RunDirectory(only_run(tmp_path / "copy"))
    before = latest_checkpoint(run.checkpoints)
    assert before
    shutil.rmtree(run.checkpoints / before.tag)
    run.forget_stage("train")
    done = fsft("run", "tiny.toml", *EARLY, "--until", "train", cwd=tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    first, again = ends(run)
    assert again.step == first.step
    assert again.ended_early
    assert latest_checkpoint(run.checkpoints) == before
    assert [event.step for event in eval_losses(run)][-2:] == [before.step, before.step]


@pytest.mark.slow
def test_the_newest_is_converted_unless_the_best_is_asked_for(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    run = RunDirectory(only_run(tmp_path / "copy"))
    newest = latest_checkpoint(run.checkpoints)
    assert newest
    again = (*EARLY, "--set", "convert.checkpoint=newest", "--until", "convert")
    done = fsft("run", "tiny.toml", *again, cwd=tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert run.finished_stages()["convert"].summary.startswith(f"step {newest.step}, ")
    best = best_checkpoint(run.checkpoints)
    assert best
    (run.checkpoints / best.tag / "checkpoint.json").write_text("{")
    refused = fsft("run", "tiny.toml", *EARLY, "--until", "convert", cwd=tmp_path / "copy")
    assert refused.returncode == 3
    assert f"{best.tag}/checkpoint.json: is missing or broken" in refused.stderr


def test_without_eval_data_nothing_is_led_by_its_loss(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    refused = fsft("run", "tiny.toml", *EARLY, cwd=tmp_path)
    assert refused.returncode == 3
    for key in ("checkpoint.keep_best", "evaluate.patience"):
        assert f"{key}: needs an eval loss, and there is no eval data." in refused.stderr
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("tiny-*"))

"""A checkpoint takes its place whole, or not at all."""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.runtime.train.marks import (
    CheckpointMark,
    Standing,
    best_checkpoint,
    damaged_checkpoints,
    latest_checkpoint,
    whole_checkpoints,
)
from fsft.runtime.train.publish import publish, remove_newer, remove_remains, writing_name

KILLED = 9


def mark_of(step: int) -> CheckpointMark:
    return CheckpointMark(step, num_processes=2, zero=1, global_batch=8, model="tiny")


def save(folder: Path, step: int, keep_last: int = 1, evaluated: Standing | None = None) -> Path:
    mark = replace(mark_of(step), evaluated=evaluated or Standing())
    writing = folder / writing_name(mark)
    writing.mkdir(parents=True, exist_ok=True)
    for name in ("weights.pt", "optimizer.pt"):
        (writing / name).write_bytes(bytes(step))
    return publish(folder, mark, keep_last=keep_last, keep_best=evaluated is not None)


def killed_at(instant: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed before its system call of that number on files."""
    child = os.fork()
    if child == 0:
        seen = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen == instant:
                    os._exit(KILLED)
                return function(*arguments, **options)

            return call

        for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_a_kill_at_any_instant_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    first = tmp_path / "first"
    save(first, 1)
    newest, instant, killed = [], 0, True
    while killed:
        instant += 1
        folder = tmp_path / f"killed-{instant}"
        shutil.copytree(first, folder)
        killed = killed_at(instant, partial(save, folder, 2))
        latest = latest_checkpoint(folder)
        assert latest
        newest.append(latest.step)
        assert not damaged_checkpoints(folder)
        remove_remains(folder)
        save(folder, 3)
        assert [path.name for path in folder.iterdir()] == ["step-00000003"]
    assert len(newest) > 8
    assert newest == sorted(newest)
    assert set(newest) == {1, 2}


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep_last=2)
    assert [mark.step for mark in whole_checkpoints(tmp_path)] == [3, 2]


def test_the_best_checkpoint_is_kept_besides_the_last_ones(tmp_path: Path) -> None:
    standing, kept = Standing(), []
    for step, loss in enumerate((3.0, 1.0, 2.0, 2.0, 0.5, 1.0), start=1):
        standing = standing.after(step, loss)
        save(tmp_path, step, keep_last=2, evaluated=standing)
        best = best_checkpoint(tmp_path)
        assert best
        assert best.evaluated.best_loss == standing.best_loss
        kept.append([mark.step for mark in whole_checkpoints(tmp_path)])
    assert kept == [[1], [2, 1], [3, 2], [4, 3, 2], [5, 4], [6, 5]]
    latest = latest_checkpoint(tmp_path)
    assert latest
    assert latest.evaluated == standing


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=20))
def test_the_lowest_eval_loss_and_those_since_are_known(losses: list[float]) -> None:
    standing = Standing()
    for step, loss in enumerate(losses, start=1):
        standing = standing.after(step, loss)
    finite = [loss for loss in losses if loss < math.inf]
    assert standing.step == len(losses)
    assert standing.best_loss == (min(finite) if finite else None)
    first = losses.index(min(finite)) + 1 if finite else None
    assert standing.best_step == first
    assert standing.since_best == len(losses) - (first or 0)


def test_a_checkpoint_of_an_earlier_fsft_has_no_eval_loss(tmp_path: Path) -> None:
    file = save(tmp_path, 1) / "checkpoint.json"
    known = ("step", "num_processes", "zero", "global_batch", "model", "files")
    values = json.loads(file.read_text())
    file.write_text(json.dumps({name: values[name] for name in known}))
    latest = latest_checkpoint(tmp_path)
    assert latest
    assert (latest.evaluated, latest.weights_only) == (Standing(), False)
    assert best_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: os.truncate(path / "weights.pt", 1), "weights.pt: has 1 bytes and was saved"),
        (lambda path: (path / "optimizer.pt").unlink(), "optimizer.pt: is missing"),
        (lambda path: (path / "checkpoint.json").write_text("{"), "is missing or broken"),
    ],
)
def test_the_one_before_a_damaged_checkpoint_is_the_newest_whole_one(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    save(tmp_path, 1, keep_last=2)
    damage(save(tmp_path, 2, keep_last=2))
    latest = latest_checkpoint(tmp_path)
    assert latest
    assert latest.step == 1
    (problem,) = damaged_checkpoints(tmp_path)
    assert message in str(problem)
    remove_newer(tmp_path, latest)
    assert not damaged_checkpoints(tmp_path)

"""What a run's folder tells besides its events."""

import json
import os
from pathlib import Path

import pytest

from fsft.recipes.events import EvalLoss
from fsft.recipes.lock import Expected, expected_of
from fsft.recipes.problems import Refused
from fsft.recipes.run_files import RunFiles
from fsft.wizard.monitor.run_state import find_run, is_alive, log_tail
from tests.support import fsft

NOBODY = 2**22 + 1
"""More than Linux gives to any process."""


def make_run(folder: Path, name: str = "tiny-1") -> RunFiles:
    run = RunFiles(folder / name)
    run.logs.mkdir(parents=True)
    run.events_file.write_text("")
    return run


def test_without_a_name_the_run_that_wrote_last_is_found(tmp_path: Path) -> None:
    old, new = make_run(tmp_path, "old"), make_run(tmp_path, "new")
    os.utime(old.events_file, (1, 1))
    assert find_run(None, tmp_path).path == new.path
    assert find_run(old.path, tmp_path).path == old.path


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no run yet"):
        find_run(None, tmp_path)
    with pytest.raises(Refused, match="is not a run directory"):
        find_run(tmp_path, tmp_path)


def test_the_plan_is_read_from_the_lock(tmp_path: Path) -> None:
    lock = make_run(tmp_path).lock_file
    assert expected_of(lock) == Expected()
    lock.write_text(
        "[plan]\nseconds_per_step = 2.5\n[plan.device_memory_bytes]\nlow = 1.0\nhigh = 9.0\n"
    )
    assert expected_of(lock) == Expected(1.0, 9.0, 2.5)
    lock.write_text("= broken")
    assert expected_of(lock) == Expected()


def test_a_run_is_alive_as_long_as_its_process(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert not is_alive(run)
    for text, alive in ((str(os.getpid()), True), (str(NOBODY), False), ("", False), ("x", False)):
        run.lock.write_text(text)
        assert is_alive(run) is alive


def test_the_log_of_the_first_process_goes_before_those_of_others(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert log_tail(run, 5) == ("", [])
    (run.logs / "rank-0.log").write_text("".join(f"line {n}\n" for n in range(9)))
    (run.logs / "rank-1.log").write_text("other\n")
    assert log_tail(run, 2) == ("rank-0.log", ["line 7", "line 8"])


def test_the_eval_loss_is_told_to_programs(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    loss = EvalLoss(step=2, loss=1.25, is_best=True, seconds=0.5)
    run.events_file.write_text(loss.model_dump_json() + "\n")
    told = json.loads(fsft("watch", run.path, "--json", cwd=tmp_path).stdout)
    assert told["eval_loss"] == told["best"]
    assert (told["best"]["step"], told["best"]["loss"]) == (2, 1.25)

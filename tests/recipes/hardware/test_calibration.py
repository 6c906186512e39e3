"""What was measured takes the place of data sheets."""

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.calibration import (
    Calibration,
    calibrated,
    calibration_file,
    read_calibration,
    to_document,
    with_calibration,
)
from fsft.recipes.hardware.cluster import make_cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Layout
from fsft.recipes.planner.time import plan_time
from fsft.recipes.problems import RecipeError
from tests.recipes.planner.jobs import llama_like

MEASURED = Calibration(
    host="node-1",
    device="A100-80GB-SXM",
    date="2026-11-01",
    torch="2.13.0",
    matmul_tflops={"bfloat16": 200.0, "float32": 15.0},
    memory_bandwidth=1.7e12,
    all_reduce_bandwidth=2.2e11,
    disk_read=3e9,
    disk_write=1e9,
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "calibration.toml"
    file.write_text(tomli_w.dumps(to_document({MEASURED.device: MEASURED})))
    assert read_calibration(file) == {MEASURED.device: MEASURED}


def test_nothing_measured_is_no_error(tmp_path: Path) -> None:
    assert read_calibration(tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("= broken", "line 1"),
        ("", "no table"),
        ("devices = 3", "no table"),
        ("[devices]\nx = 1", "x is not a table"),
        ("[devices.x]\nspeed = 1", "unknown key, speed"),
        ("[devices.x]\nhost = 'a'", "no date"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "calibration.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=rf"calibration\.toml.*{reason}.*fsft calibrate"):
        read_calibration(file)


@pytest.mark.parametrize(
    "changed",
    [
        {"disk_read": 0.0},
        {"memory_bandwidth": float("nan")},
        {"disk_write": "fast"},
        {"matmul_tflops": 3},
        {"matmul_tflops": {"bfloat16": -1.0}},
        {"date": 3},
    ],
)
def test_a_figure_that_is_no_speed_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    document = to_document({MEASURED.device: MEASURED})
    document["devices"][MEASURED.device].update(changed)
    file = tmp_path / "calibration.toml"
    file.write_text(tomli_w.dumps(document))
    with pytest.raises(RecipeError, match=f"{next(iter(changed))}|bfloat16"):
        read_calibration(file)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="directory"):
        read_calibration(tmp_path)


def test_a_slower_device_than_its_data_sheet_makes_slower_plans() -> None:
    device = find_accelerator(MEASURED.device)
    cluster = make_cluster(device)
    slower = with_calibration(cluster, {MEASURED.device: MEASURED})
    job, layout = Job(llama_like(), 2048), Layout(zero=0)
    assert plan_time(job, layout, slower).seconds > plan_time(job, layout, cluster).seconds
    assert slower.disk_read == 3e9


def test_what_was_not_measured_stays_as_it_was() -> None:
    device = find_accelerator("H100")
    assert calibrated(device, {MEASURED.device: MEASURED}) is device
    alone = replace(MEASURED, all_reduce_bandwidth=None)
    a100 = find_accelerator(MEASURED.device)
    assert calibrated(a100, {alone.device: alone}).link_bandwidth == a100.link_bandwidth


def test_the_file_lies_with_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert calibration_file() == Path("/somewhere/fsft/calibration.toml")

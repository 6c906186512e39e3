"""`fsft hardware` and `fsft calibrate`."""

import json
import tomllib
from pathlib import Path

from tests.support import fsft


def test_the_table_names_devices_and_this_machine(tmp_path: Path) -> None:
    done = fsft("hardware", cwd=tmp_path)
    assert done.returncode == 0
    assert "A100-80GB-SXM" in done.stdout
    assert "cores" in done.stdout


def test_one_device_is_told_with_its_source(tmp_path: Path) -> None:
    done = fsft("hardware", "h100", cwd=tmp_path)
    assert "794 TFLOPS, measured" in done.stdout
    assert "source" in done.stdout
    told = json.loads(fsft("hardware", "h100", "--json", cwd=tmp_path).stdout)
    assert told["name"] == "H100-80GB-SXM"
    assert told["peaks"]["bfloat16"] == 989.4


def test_an_unknown_device_exits_with_2_and_the_nearest_name(tmp_path: Path) -> None:
    done = fsft("hardware", "H1000", cwd=tmp_path)
    assert done.returncode == 2
    assert "H100" in done.stderr


def test_a_calibration_is_kept_and_used_by_plans_for_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "fsft" / "calibration.toml"
    done = fsft(
        "calibrate",
        "--seconds",
        "0.05",
        "--json",
        cwd=tmp_path,
        env={"XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == str(file)
    (device,) = tomllib.loads(file.read_text())["devices"]
    shown = fsft("hardware", cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)}).stdout
    assert f"{device}: " in shown
    plan = fsft(
        "plan", "quickstart", "--json", cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)}
    )
    best = json.loads(plan.stdout)["recommendation"]
    assert best["time"]["seconds"] > 0
    uncalibrated = fsft(
        "plan", "quickstart", "--json", cwd=tmp_path, env={"XDG_CONFIG_HOME": "/nowhere"}
    )
    assert json.loads(uncalibrated.stdout)["recommendation"]["time"] is None


def test_a_place_that_cannot_be_written_to_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = fsft("calibrate", "--out", "file/calibration.toml", cwd=tmp_path)
    assert done.returncode == 3
    assert "cannot be written" in done.stderr


def test_an_absurd_duration_is_refused(tmp_path: Path) -> None:
    assert fsft("calibrate", "--seconds", "-1", cwd=tmp_path).returncode == 2

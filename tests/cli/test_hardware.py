"""`fsft hardware` and `fsft calibrate`."""

import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from fsft.cli.hardware_view import show_calibration, show_machine, show_table
from fsft.recipes.hardware.accelerators import accelerator_names, find_accelerator
from fsft.recipes.hardware.detect import Device, Machine
from tests.recipes.hardware.test_calibration import MEASURED
from tests.support import fsft, fsft_command, fsft_environment

GIB = 2**30


def test_the_table_names_devices_and_this_machine(tmp_path: Path) -> None:
    done = fsft("hardware", cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert done.returncode == 0
    assert "A100-80GB-SXM" in done.stdout
    assert "cores" in done.stdout
    assert "nothing measured yet" in done.stdout


def test_the_whole_table_is_told_to_programs(tmp_path: Path) -> None:
    done = fsft("hardware", "--json", cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)})
    told = json.loads(done.stdout)
    assert {each["name"] for each in told["accelerators"]} == set(accelerator_names())
    assert told["machine"]["host_memory"] > 0
    assert told["machine"]["free_disk"] > 0
    assert told["machine"]["measured"] == {}
    assert told["machine"]["calibration_file"] == str(tmp_path / "fsft" / "calibration.toml")


def test_one_device_is_told_with_its_source(tmp_path: Path) -> None:
    done = fsft("hardware", "h100", cwd=tmp_path)
    assert "794 TFLOPS in bfloat16, measured" in done.stdout
    assert "source" in done.stdout
    told = json.loads(fsft("hardware", "h100", "--json", cwd=tmp_path).stdout)
    assert told["name"] == "H100-80GB-SXM"
    assert told["peaks"]["bfloat16"] == 989.4


def test_an_unknown_device_exits_with_2_and_the_nearest_name(tmp_path: Path) -> None:
    done = fsft("hardware", "H1000", cwd=tmp_path)
    assert done.returncode == 2
    assert "H100" in done.stderr


def test_equal_devices_are_one_line_with_their_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    machine = Machine((Device("NVIDIA A100-SXM4-80GB", 80 * GIB),) * 8, 96, 1024 * GIB, 7e12)
    with (console := wide()).capture() as captured:
        show_machine(machine, {MEASURED.device: MEASURED}, console)
    shown = captured.get()
    assert "8 × NVIDIA A100-SXM4-80GB, 80.0 GiB each" in shown
    assert "A100-80GB-SXM in the table, 300 GB/s between them" in shown
    assert "/nowhere/fsft/calibration.toml" in shown
    assert "200 of 312 TFLOPS" in shown


def test_a_device_without_figures_is_said_to_have_none() -> None:
    machine = Machine((Device("Voodoo 3", 16e6),), 4, 64e9, 1e12)
    with (console := wide()).capture() as captured:
        show_machine(machine, {}, console)
    assert "1 × Voodoo 3" in captured.get()
    assert "not in the table" in captured.get()


def test_measurements_stand_beside_the_data_sheet() -> None:
    with (console := wide()).capture() as captured:
        show_calibration(MEASURED, console)
    shown = captured.get()
    assert "200 of 312 TFLOPS, 64%" in shown
    assert "1,700 of 2,039 GB/s, 83%" in shown
    assert "220 of 300 GB/s, 73%" in shown


def test_the_table_fits_an_ordinary_terminal() -> None:
    with (console := Console(width=80)).capture() as captured:
        show_table(map(find_accelerator, accelerator_names()), console)
    shown = captured.get()
    assert "…" not in shown
    assert len(shown.splitlines()) == len(accelerator_names()) + 6


def test_a_calibration_is_kept_and_used_by_plans_for_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "fsft" / "calibration.toml"
    file.parent.mkdir()
    file.write_text("broken")
    here = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = fsft("calibrate", "--seconds", "0.02", "--json", cwd=tmp_path, env=here)
    assert done.returncode == 0, done.stderr
    assert "measuring memory" in done.stderr
    told = json.loads(done.stdout)
    assert told["file"] == str(file)
    assert told["matmul_tflops"]["float32"] > 0
    for speed in ("memory_bandwidth", "all_reduce_bandwidth", "disk_read", "disk_write"):
        assert told[speed] > 0
    (device,) = tomllib.loads(file.read_text())["devices"]
    assert f"{device} on " in fsft("hardware", cwd=tmp_path, env=here).stdout
    question = ("plan", "quickstart", "--set", "hardware.accelerator=cpu", "--json")
    plan = fsft(*question, cwd=tmp_path, env=here)
    assert json.loads(plan.stdout)["recommendation"]["time"]["seconds"] > 0
    nowhere = {"XDG_CONFIG_HOME": "/nowhere"}
    plan = fsft(*question, cwd=tmp_path, env=nowhere)
    assert json.loads(plan.stdout)["recommendation"]["time"] is None


def test_an_interrupted_calibration_writes_nothing(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    process = subprocess.Popen(
        fsft_command("calibrate", "--out", "folder/calibration.toml"),
        cwd=tmp_path,
        env=fsft_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "matrix products" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing was written" in said
    assert "Traceback" not in said
    assert set(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_to_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for options in (("--out", "file/calibration.toml"), ("--runs", "file", "--out", "new.toml")):
        done = fsft("calibrate", *options, cwd=tmp_path)
        assert done.returncode == 3
        assert "cannot be written" in done.stderr
        assert "measuring" not in done.stderr


def test_a_file_that_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("schema = 1")
    done = fsft("calibrate", "--out", "recipe.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a calibration" in done.stderr
    assert (tmp_path / "recipe.toml").read_text() == "schema = 1"


def test_without_torch_the_way_to_install_it_is_told(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "sys.argv = ['fsft', 'calibrate', '--out', 'new.toml']\n"
        "from fsft.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert 'pip install "fsft[train]"' in done.stderr
    assert not (tmp_path / "new.toml").exists()


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "1e9"])
def test_an_absurd_duration_is_refused(tmp_path: Path, seconds: str) -> None:
    assert fsft("calibrate", "--seconds", seconds, cwd=tmp_path).returncode == 2


def wide() -> Console:
    """A console that breaks no line of these tests."""
    return Console(width=200, highlight=False)

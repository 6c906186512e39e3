"""Measurements of the machine that the tests run on, kept short."""

import os
from pathlib import Path

import pytest
import torch

from fsft.recipes.hardware.calibration import Calibration
from fsft.runtime.calibrate import measure as measuring
from fsft.runtime.calibrate import memory
from fsft.runtime.calibrate.device import device_name
from fsft.runtime.calibrate.disk import measure_disk
from fsft.runtime.calibrate.links import all_reduce_bandwidth
from fsft.runtime.calibrate.matmul import matmul_tflops
from fsft.runtime.calibrate.measure import Step, measure
from fsft.runtime.calibrate.memory import copy_bandwidth
from fsft.runtime.calibrate.timing import seconds_of_one

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_products_take_time(dtype: torch.dtype) -> None:
    assert 1e-4 < matmul_tflops(CPU, dtype, 0.02) < 1000


def test_copies_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CPU_BYTES", 2**25)
    assert 1e8 < copy_bandwidth(CPU, 0.02) < 1e13


def test_one_slow_run_among_many_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([1.0, 1.0, 1.0, 1.0, 50.0, 1.0, 1.0])
    monkeypatch.setattr("time.perf_counter", clock.read)
    assert seconds_of_one(clock.run, CPU, 54.0) == 1.0
    assert not clock.durations


@pytest.mark.slow
def test_processes_exchange_data() -> None:
    assert 1e6 < all_reduce_bandwidth("cpu", 2, 0.02) < 1e12


@pytest.mark.slow
def test_a_process_that_fails_is_an_error_of_the_measurement() -> None:
    with pytest.raises(RuntimeError, match="nonsense"):
        all_reduce_bandwidth("nonsense", 1, 0.02)


def test_the_disk_is_left_as_it_was(tmp_path: Path) -> None:
    speed = measure_disk(tmp_path, 0.02)
    assert speed.write > 1e5
    assert speed.read > 1e5
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        measure_disk(tmp_path / "missing", 0.02)


def test_everything_is_measured_and_the_threads_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CPU_BYTES", 2**25)
    monkeypatch.setattr(measuring, "all_reduce_bandwidth", lambda *_: 1e9)
    threads = torch.get_num_threads()
    *steps, calibration = measure(tmp_path, 0.02)
    assert [type(step) for step in steps] == [Step] * 5
    assert isinstance(calibration, Calibration)
    assert calibration.host == os.uname().nodename
    assert set(calibration.matmul_tflops) == {"bfloat16", "float32"}
    assert calibration.all_reduce_bandwidth == 1e9
    assert calibration.disk_read
    assert torch.get_num_threads() == threads


def test_the_threads_are_given_back_when_somebody_stops_watching(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    steps = measure(tmp_path, 0.02)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("told", "name"),
    [("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"), ("NVIDIA Voodoo 3", "NVIDIA Voodoo 3")],
)
def test_what_is_measured_has_the_name_that_the_planner_asks_by(
    monkeypatch: pytest.MonkeyPatch, told: str, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: told)
    assert device_name(torch.device("cuda")) == name
    assert device_name(CPU) == "cpu"


class Clock:
    """A clock that goes on only by what runs."""

    def __init__(self, durations: list[float]) -> None:
        self.durations = durations
        self._now = 0.0

    def read(self) -> float:
        """The time now, in seconds."""
        return self._now

    def run(self) -> None:
        """Take as long as the next duration."""
        self._now += self.durations.pop(0)

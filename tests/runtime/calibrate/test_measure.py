"""Measurements of the machine that the tests run on, kept short."""

import os
from pathlib import Path

import pytest
import torch

from fsft.recipes.hardware.calibration import Calibration
from fsft.runtime.calibrate.disk import measure_disk
from fsft.runtime.calibrate.links import all_reduce_bandwidth
from fsft.runtime.calibrate.measure import Step, measure
from fsft.runtime.calibrate.speed import copy_bandwidth, matmul_tflops

CPU = torch.device("cpu")


def test_products_and_copies_take_time() -> None:
    assert 1e-4 < matmul_tflops(CPU, torch.float32, 0.05) < 100
    assert 1e8 < copy_bandwidth(CPU, 0.05) < 1e13


def test_processes_exchange_data() -> None:
    assert 1e6 < all_reduce_bandwidth("cpu", 2, 0.05) < 1e12


def test_the_disk_is_left_as_it_was(tmp_path: Path) -> None:
    speed = measure_disk(tmp_path, 0.05)
    assert speed.write > 1e5
    assert speed.read > 1e5
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        measure_disk(tmp_path / "missing", 0.05)


def test_everything_is_measured_and_the_threads_are_given_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    *steps, calibration = measure("cpu", tmp_path, 0.05)
    assert all(isinstance(step, Step) for step in steps)
    assert isinstance(calibration, Calibration)
    assert calibration.host == os.uname().nodename
    assert set(calibration.matmul_tflops) == {"bfloat16", "float32"}
    assert calibration.disk_read
    assert torch.get_num_threads() == threads

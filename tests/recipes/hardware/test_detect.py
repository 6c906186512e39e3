"""What a machine has, told by fake drivers."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import tomli_w

from fsft.recipes.hardware import detect
from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.calibration import Calibration, to_document
from fsft.recipes.hardware.detect import Device, Machine, detect_machine, detected_cluster
from fsft.recipes.planner.questions import cluster_of
from fsft.recipes.schema import Hardware
from tests.recipes.hardware.test_calibration import MEASURED

A100 = find_accelerator("A100-80GB-SXM")
NPU_SMI = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 23.0.2              Version: 23.0.2                                                    |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.1        45                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3340 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | OK            | 92.4        44                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          3338 / 65536         |
+===========================+===============+====================================================+
"""


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 8)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "NVIDIA A100-SXM4-80GB")
    memory = SimpleNamespace(total=85_899_345_920)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)


@pytest.mark.usefixtures("eight_gpus")
def test_gpus_are_found_by_their_driver() -> None:
    cluster = detected_cluster("auto")
    assert cluster is not None
    assert cluster.accelerator.name == "A100-80GB-SXM"
    assert cluster.accelerator.memory == 85_899_345_920
    assert cluster.devices_per_node == 8


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    machine = detect_machine()
    assert machine.devices == ()
    assert any("NVIDIA" in note for note in machine.notes)
    assert machine.host_memory > 0


@pytest.mark.usefixtures("eight_gpus")
def test_a_driver_that_fails_half_way_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", fail)
    machine = detect_machine()
    assert machine.devices == ()
    assert any("could not be read" in note for note in machine.notes)


def test_npu_smi_is_read() -> None:
    assert detect.parse_npu_smi(NPU_SMI) == (Device("Ascend 910B3", 65536 * 2.0**20),) * 2
    assert detect.parse_npu_smi("no table at all") == ()


def test_npu_smi_without_its_driver_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "npu-smi"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert any("npu-smi failed" in note for note in detect_machine().notes)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{NPU_SMI}END\n")
    assert [device.name for device in detect_machine().devices] == ["Ascend 910B3"] * 2


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_has_no_more_memory_than_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setattr(detect, "CONTROL_GROUP", tmp_path)
    unlimited = detect_machine().host_memory
    limit = tmp_path / file
    limit.parent.mkdir(exist_ok=True)
    limit.write_text("536870912\n")
    assert detect_machine().host_memory == 2**29
    for no_limit in ("max\n", "9223372036854771712\n", "", "\udcff"):
        limit.write_text(no_limit, errors="surrogateescape")
        assert detect_machine().host_memory == unlimited


def test_of_a_device_that_the_table_does_not_know_only_the_memory_is_known() -> None:
    machine = Machine((Device("Voodoo 3", 16e6),) * 2, 4, 64e9, 1e12)
    cluster = detected_cluster("cuda", machine)
    assert cluster is not None
    assert cluster.accelerator.memory == 16e6
    assert cluster.devices_per_node == 2
    assert not cluster.has_known_speed
    assert any("fsft calibrate" in each for each in cluster.assumptions)


def test_a_device_that_the_table_does_not_know_can_be_measured(settings_folder: Path) -> None:
    machine = Machine((Device("Voodoo 3", 16e6),), 4, 64e9, 1e12)
    keep(settings_folder, replace(MEASURED, device="Voodoo 3"))
    cluster = detected_cluster("auto", machine)
    assert cluster is not None
    assert cluster.has_known_speed
    assert cluster.accelerator.matmul_tflops("bfloat16") == 200


@pytest.mark.usefixtures("eight_gpus")
def test_what_was_measured_here_takes_the_place_of_the_data_sheet(settings_folder: Path) -> None:
    keep(settings_folder, MEASURED)
    cluster = detected_cluster("auto")
    assert cluster is not None
    assert cluster.accelerator.matmul_tflops("bfloat16") == 200
    assert (cluster.disk_read, cluster.disk_write) == (3e9, 1e9)
    assert cluster_of(Hardware(), cluster).disk_write == 1e9
    # A recipe that names its device is planned alike on every machine.
    named = cluster_of(Hardware(accelerator="A100-80GB-SXM"), cluster)
    assert named.accelerator.matmul_tflops("bfloat16") == A100.matmul_tflops("bfloat16")
    assert named.disk_write is None


def keep(folder: Path, calibration: Calibration) -> None:
    """Write the calibration where the planner looks for it."""
    file = folder / "fsft" / "calibration.toml"
    file.parent.mkdir(parents=True)
    file.write_text(tomli_w.dumps(to_document({calibration.device: calibration})))


def test_the_processor_is_a_device_of_its_own() -> None:
    machine = Machine((), 4, 64e9, 1e12)
    cluster = detected_cluster("cpu", machine)
    assert cluster is not None
    assert cluster.accelerator.name == "cpu"
    assert detected_cluster("cuda", machine) is None

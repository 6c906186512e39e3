"""What a machine has, told by fake drivers."""

from types import SimpleNamespace

import pynvml
import pytest

from fsft.recipes.hardware import detect
from fsft.recipes.hardware.detect import Device, Machine, detect_machine, detected_cluster

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


def test_a_device_that_the_table_does_not_know_is_no_guess() -> None:
    machine = Machine((Device("Voodoo 3", 16e6),), 4, 64e9, 1e12)
    assert detected_cluster("cuda", machine) is None


def test_the_processor_is_a_device_of_its_own() -> None:
    machine = Machine((), 4, 64e9, 1e12)
    cluster = detected_cluster("cpu", machine)
    assert cluster is not None
    assert cluster.accelerator.name == "cpu"
    assert detected_cluster("cuda", machine) is None

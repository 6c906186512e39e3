"""Devices of every kind are asked through DeepSpeed's and PyTorch's own layers, by no name."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from deepspeed.accelerator import get_accelerator, set_accelerator
from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

from fsft.recipes.problems import Refused
from fsft.recipes.schema import Hardware
from fsft.runtime import hardware
from fsft.runtime.hardware import Devices, find_devices
from fsft.runtime.run_directory import RunDirectory
from fsft.runtime.train import __main__ as program
from fsft.runtime.train import activation_checkpointing, device
from fsft.runtime.train.device import device_label, matmul_flops_per_second, peak_memory_bytes

ROOT = Path(__file__).parents[3]


class FakeNpu(CPU_Accelerator):  # type: ignore[misc]
    """An accelerator that computes on the cpu and tells what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self._name = "npu"
        self._communication_backend_name = "hccl"
        self.asked: list[str] = []

    def device_name(self, device_index: int | None = None) -> str:
        return "npu" if device_index is None else f"npu:{device_index}"

    def max_memory_allocated(self, _index: int | None = None) -> int:
        self.asked.append("memory")
        return 123_456

    def synchronize(self, _index: int | None = None) -> None:
        self.asked.append("synchronize")


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNpu]:
    before, fake = get_accelerator(), FakeNpu()
    set_accelerator(fake)
    module = SimpleNamespace(get_device_name=lambda: "Ascend910B")
    monkeypatch.setattr(torch, "get_device_module", lambda name: {"npu": module}[name])
    yield fake
    set_accelerator(before)


def test_memory_and_name_are_those_of_the_accelerator(npu: FakeNpu) -> None:
    assert peak_memory_bytes() == 123_456
    assert device_label() == "Ascend910B"
    assert npu.asked == ["memory"]


def test_the_matmul_peak_waits_for_the_accelerator(
    npu: FakeNpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock ends the measurement after its first round.
    monkeypatch.setattr(device.time, "perf_counter", iter(range(100)).__next__)
    assert matmul_flops_per_second(torch.device("cpu"), torch.float32) == 2 * 1024**3
    assert set(npu.asked) == {"synchronize"}


def test_processes_meet_through_the_accelerators_own_backend(
    npu: FakeNpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def meet(backend: str, *_: Any, **__: Any) -> NoReturn:
        raise InterruptedError(backend)

    monkeypatch.setattr("deepspeed.comm.comm.cdb", None)
    monkeypatch.setattr("deepspeed.comm.comm.TorchBackend", meet)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(InterruptedError, match="hccl"):
        program._train(RunDirectory(tmp_path), "npu", SimpleNamespace())  # type: ignore[arg-type]


def test_offloaded_inputs_are_pinned_for_the_accelerator(
    npu: FakeNpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Noted:
        def __init__(self, **settings: Any) -> None:
            asked.append(settings)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(activation_checkpointing, "save_on_cpu", Noted)
    assert activation_checkpointing._offloaded(lambda number: number + 1, 1) == 2
    assert asked == [{"pin_memory": True, "device_type": "npu"}]


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (("npu", 8), "auto", Devices("npu", 8)),
        (("cuda", 2), "auto", Devices("cuda", 2)),
        (("cuda", 2), "H100-80GB-SXM", Devices("cuda", 2)),
        (("npu", 8), "Ascend-910B", Devices("npu", 8)),
        (("cpu", 0), "auto", Devices("cpu", 2)),
        (("cuda", 2), "cpu", Devices("cpu", 2)),
    ],
)
def test_a_run_gets_the_devices_that_pytorch_finds(
    monkeypatch: pytest.MonkeyPatch, found: tuple[str, int], wanted: str, expected: Devices
) -> None:
    monkeypatch.setattr(hardware, "_found", lambda: found)
    assert find_devices(Hardware(accelerator=wanted)) == expected


@pytest.mark.parametrize("wanted", ["cuda", "H100-80GB-SXM"])
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    monkeypatch.setattr(hardware, "_found", lambda: ("cpu", 0))
    with pytest.raises(Refused, match="1 GPUs are asked for, 0 are visible"):
        find_devices(Hardware(accelerator=wanted))


def test_no_kind_of_device_is_named_in_the_code() -> None:
    named = re.compile(r"torch\.cuda|\.cuda\(|torch\.(npu|xpu|mps)\b")
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for room in ("recipes", "runtime", "wizard", "src/fsft/cli")
        for file in (ROOT / room).rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if named.search(line)
    ]
    assert found == []

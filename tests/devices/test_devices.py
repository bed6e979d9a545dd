"""Devices are found and chosen by name. Fakes stand in for CUDA on a machine without it."""

from pathlib import Path

import psutil
import pytest
import torch

from mnfpn_cli.devices import choose, cpu
from mnfpn_cli.devices.choose import choose_devices, device_of, find_devices
from mnfpn_cli.devices.timers import EventTimer, HostTimer
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.memory import PeakMemory


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a CPU and nothing else."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(choose, "_start", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA H100")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_an_error_that_lists_the_devices() -> None:
    """An error of the machine, not of usage: exit code 1."""
    assert choose_devices(["auto", "cpu"]) == [torch.device("cpu")]
    with pytest.raises(MnfpnError, match="must be a device of this machine, got 'cuda'; found: cpu") as caught:
        choose_devices(["cpu", "cuda"])
    assert caught.value.exit_code == 1


@pytest.mark.usefixtures("two_gpus")
def test_with_gpus_auto_is_the_first_and_each_can_be_named() -> None:
    """The error for a missing index lists the devices of the machine."""
    assert find_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert [str(d) for d in choose_devices(["auto", "cuda:1", "cuda", "cpu", "cpu"])] == ["cuda:0", "cuda:1", "cpu"]
    assert [str(d) for d in choose_devices(["cuda", "cuda:0"])] == ["cuda:0"]
    with pytest.raises(MnfpnError, match=r"got 'cuda:7'; found: cuda:0 \(NVIDIA H100\), cuda:1 \(NVIDIA H100\), cpu"):
        choose_devices(["cuda:7"])


def test_a_gpu_that_the_driver_counts_and_torch_cannot_use_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver too old for this torch: `auto` is then the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_devices(["auto"]) == [torch.device("cpu")]


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_does_not_start_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first line of what torch says."""
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    def zeros(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device busy\nCompile with ...")

    monkeypatch.setattr(torch, "zeros", zeros)
    message = "cuda:0 was found, but could not be started: CUDA error: device busy$"
    with pytest.raises(MnfpnError, match=message):
        choose_devices(["auto"])


def test_each_kind_of_device_has_its_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA by events, waited for on that device; everything else by the host's clock."""
    waited_for: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    events = device_of(torch.device("cuda:1")).timer()
    assert isinstance(events, EventTimer)
    events.synchronize()
    assert waited_for == [torch.device("cuda:1")]
    assert isinstance(device_of(torch.device("cpu")).timer(), HostTimer)
    mps = device_of(torch.device("mps")).timer()
    assert isinstance(mps, HostTimer)
    assert mps.synchronize is torch.mps.synchronize


def test_cuda_memory_is_read_from_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset before, read after, on the device that was asked for."""
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: len(asked) * (device == asked[0]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (456, 789))
    device = torch.device("cuda:1")
    assert PeakMemory(device).bytes() == 1
    assert asked == [device]
    assert device_of(device).free_memory() == 456


def test_the_memory_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil reports is the machine; the kernel ends a process at its group's limit."""
    group, own = tmp_path / "a" / "b", tmp_path / "own"
    group.mkdir(parents=True)
    own.write_text("0::/a/b\n")

    def limit(folder: Path, most: str) -> None:
        for name, text in (("max", most), ("current", "400000"), ("stat", "anon 1\ninactive_file 50000\n")):
            (folder / f"memory.{name}").write_text(text)

    assert cpu.left_in_cgroup(tmp_path, own) == cpu.UNLIMITED
    limit(group.parent, "1000000\n")
    assert cpu.left_in_cgroup(tmp_path, own) == 650_000
    limit(group, "900000\n")
    assert cpu.left_in_cgroup(tmp_path, own) == 550_000
    limit(group, "max\n")
    assert cpu.left_in_cgroup(tmp_path, own) == 650_000
    assert cpu.left_in_cgroup(tmp_path, tmp_path / "none") == cpu.UNLIMITED
    monkeypatch.setattr(cpu, "left_in_cgroup", lambda: 1000)
    assert device_of(torch.device("cpu")).free_memory() == 1000 < psutil.virtual_memory().available

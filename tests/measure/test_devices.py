"""Devices: which there are, and what is said where there is none. CUDA is played by fakes on a machine without it."""

from pathlib import Path

import psutil
import pytest
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure import devices
from mnfpn_cli.measure.devices import choose_devices, find_devices, free_memory
from mnfpn_cli.measure.latency import EventTimer, HostTimer, timer_for
from mnfpn_cli.measure.memory import PeakMemory


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a CPU and nothing else."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA H100")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error_that_says_what_there_is() -> None:
    """An error of the machine, not of usage: exit code 1."""
    assert choose_devices(["auto", "cpu"]) == [torch.device("cpu")]
    with pytest.raises(MnfpnError, match="must be a device of this machine, got 'cuda'; found: cpu") as caught:
        choose_devices(["cpu", "cuda"])
    assert caught.value.exit_code == 1


@pytest.mark.usefixtures("two_gpus")
def test_with_gpus_auto_is_the_first_and_each_can_be_named() -> None:
    """An index that is not there is told with the names of those that are."""
    assert find_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert [str(d) for d in choose_devices(["auto", "cuda:1", "cuda", "cpu", "cpu"])] == [
        "cuda:0",
        "cuda:1",
        "cuda",
        "cpu",
    ]
    with pytest.raises(MnfpnError, match=r"got 'cuda:7'; found: cuda:0 \(NVIDIA H100\), cuda:1 \(NVIDIA H100\), cpu"):
        choose_devices(["cuda:7"])


def test_each_kind_of_device_has_its_timer() -> None:
    """CUDA by events, everything else by the host's clock."""
    assert isinstance(timer_for(torch.device("cuda")), EventTimer)
    assert isinstance(timer_for(torch.device("cpu")), HostTimer)
    mps = timer_for(torch.device("mps"))
    assert isinstance(mps, HostTimer)
    assert mps.synchronize is torch.mps.synchronize


def test_cuda_memory_is_read_from_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset before, read after, on the device that was asked for."""
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: len(asked) * (device == asked[0]))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (456, 789))
    device = torch.device("cuda:1")
    assert PeakMemory(device).bytes() == 1
    assert asked == [device]
    assert free_memory(device) == 456


def test_the_memory_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil reports is the machine; the kernel ends a process at its group's limit."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert devices._left_in_cgroup(tmp_path) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert devices._left_in_cgroup(tmp_path) == devices._left_in_cgroup(tmp_path / "none") == 2**63
    monkeypatch.setattr(devices, "_left_in_cgroup", lambda: 1000)
    assert free_memory(torch.device("cpu")) == 1000 < psutil.virtual_memory().available

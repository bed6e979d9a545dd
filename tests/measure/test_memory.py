"""Memory: a run that cannot fit is refused, an out-of-memory error is explained, and the peak is measured."""

from pathlib import Path

import pytest
import torch

from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.measure.memory import PeakMemory, check_fits, out_of_memory_explained
from mnfpn_cli.plan.cost import memory_needed
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

CPU = torch.device("cpu")


def test_what_needs_more_than_is_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At one byte less, and not at exactly what it needs."""
    plan, input = plan_network(NetworkSettings()), network_input(NetworkSettings(), Size(600, 900), batch=4)
    needed = memory_needed(plan, input, "float32")
    monkeypatch.setattr(Cpu, "free_memory", lambda _: needed)
    check_fits(plan, input, "float32", CPU)
    monkeypatch.setattr(Cpu, "free_memory", lambda _: needed - 1)
    with pytest.raises(
        UsageError,
        match=r"size, batch: must fit the memory that cpu has free, 0.5 GiB; in float32 4 × 3 × 600x900 needs at",
    ):
        check_fits(plan, input, "float32", CPU)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Exception from src/core/shape.cpp: Failed to allocate 2600468480 bytes of memory"),
        ValueError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    ],
)
def test_each_way_to_run_out_of_memory_is_one_error(error: Exception) -> None:
    """Exit code 1: the same command may well work elsewhere."""
    with pytest.raises(MnfpnError, match="out of memory on cuda") as caught, out_of_memory_explained("on cuda"):
        raise error
    assert caught.value.exit_code == 1


def test_other_errors_are_not_taken_for_memory() -> None:
    """A bug stays visible."""
    with pytest.raises(RuntimeError, match="shape"), out_of_memory_explained("on cpu"):
        raise RuntimeError("shape mismatch")


def test_the_cpus_own_allocator_is_recognised() -> None:
    """An allocation that no machine can make."""
    with pytest.raises(MnfpnError, match="out of memory here"), out_of_memory_explained("here"):
        torch.empty(2**46)


def test_the_peak_of_the_cpu_starts_anew() -> None:
    """A measurement does not report what was used and freed before it."""
    big = torch.ones(64 * 2**20)
    del big
    before = PeakMemory(CPU).bytes()
    peak = PeakMemory(CPU)
    held = torch.ones(32 * 2**20)
    after = peak.bytes()
    assert before is not None
    assert after is not None
    assert after - before > 0.9 * held.nbytes


def test_where_the_system_does_not_say_the_peak_of_the_process_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc, as on macOS."""

    def nothing(_: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", nothing)
    monkeypatch.setattr(Path, "write_text", lambda *_: nothing(None))
    peak = PeakMemory(CPU).bytes()
    assert peak is not None
    assert peak > 50 * 2**20


def test_the_peak_of_a_device_that_does_not_report_it_is_none() -> None:
    """Absent, rather than zero."""
    assert PeakMemory(torch.device("meta")).bytes() is None

"""The machine is watched between passes; a GPU is read no more often than its values change."""

from dataclasses import dataclass, field

import pytest
import torch

from mnfpn_cli.bench import watch as watching
from mnfpn_cli.bench.watch import Watch, watch
from mnfpn_cli.devices.nvml import GpuState, NoGpuReader


@dataclass
class FakeGpu(NoGpuReader):
    """A GPU of 100 W whose energy counter is right."""

    now: float = 0.0
    reads: list[float] = field(default_factory=list)

    def read(self) -> GpuState:
        """The state at the fake clock's time."""
        self.reads.append(self.now)
        return GpuState(sm_clock_hz=1e9, power_w=100.0, energy_j=100.0 * self.now, throttle_reasons=())


def test_a_gpu_is_read_at_the_start_and_then_four_times_a_second() -> None:
    """Whatever the number of rounds; mean power follows from first and last reading."""
    gpu = FakeGpu()
    watched = Watch(torch.device("cuda"), gpu, clock=lambda: gpu.now)
    for _ in range(2001):
        watched.look()
        gpu.now = round(gpu.now + 0.001, 3)
    assert gpu.reads == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0], abs=0.01)
    assert watched.watts == pytest.approx(100.0)
    assert watched.gpu is not None
    assert watched.gpu.sm_clock_hz == 1e9


def test_without_a_gpu_its_state_is_none() -> None:
    """So is its power."""
    watched = watch(torch.device("cpu"))
    watched.look()
    assert watched.gpu is None
    assert watched.watts is None


def test_threads_are_checked_where_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a GPU they only queue its work."""
    asked: list[int | None] = []

    def unsteady_cpu(_interval: object, _cores: object, threads: int | None, _clocks: object) -> tuple[()]:
        asked.append(threads)
        return ()

    monkeypatch.setattr(watching, "unsteady_cpu", unsteady_cpu)
    watch(torch.device("cpu")).warnings()
    Watch(torch.device("cuda"), FakeGpu()).warnings()
    assert asked == [torch.get_num_threads(), None]

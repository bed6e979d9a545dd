"""What the machine did while passes were timed: read between them, never in them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from mnfpn_cli.measure.conditions import ClockWatch, Conditions, between, read_conditions
from mnfpn_cli.measure.machine import read_cores
from mnfpn_cli.measure.nvml import GpuReader, GpuState, energy_used, gpu_reader, typical
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.measure.unsteady_cpu import unsteady_cpu
from mnfpn_cli.measure.unsteady_gpu import unsteady_gpu

GPU_PERIOD_S = 0.25
"""Between readings of a GPU: NVML answers within milliseconds, and has nothing new more often than that."""


@dataclass
class Watch:
    """Conditions from before the first timed pass to behind the last; `look` is called between rounds of passes."""

    device: torch.device
    reader: GpuReader
    clock: Callable[[], float] = time.perf_counter
    before: Conditions = field(default_factory=read_conditions)
    cpu_clock: ClockWatch = field(default_factory=ClockWatch)
    gpu_states: list[GpuState] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0

    def look(self) -> None:
        """Read what has to be read while it goes on."""
        self.cpu_clock.sample()
        now = self.clock()
        if not self.gpu_states:
            self.started = now
        if not self.gpu_states or now - self.ended >= GPU_PERIOD_S:
            self.gpu_states.append(self.reader.read())
            self.ended = now

    def unsteady(self) -> tuple[Unsteady, ...]:
        """What was wrong with the machine."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else None
        interval = between(self.before, read_conditions())
        return (
            *unsteady_cpu(interval, read_cores(), threads, self.cpu_clock.samples_hz),
            *unsteady_gpu(self.gpu_states),
        )

    @property
    def gpu(self) -> GpuState | None:
        """What the GPU was like; None where nothing could be read."""
        return typical(self.gpu_states)

    @property
    def watts(self) -> float | None:
        """Mean power between the first and the last reading."""
        seconds = self.ended - self.started
        joules = energy_used(self.gpu_states, seconds)
        return None if joules is None else joules / seconds


def watch(device: torch.device) -> Watch:
    """Begin to watch a device, and the CPU in any case."""
    return Watch(device, gpu_reader(device))

"""Watch the machine while passes are timed: the CPU's load and clock, the GPU's state, and their warnings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.conditions import ClockWatch, Conditions, read_conditions, span_between
from mnfpn_cli.devices.machine import read_cores
from mnfpn_cli.devices.nvml import GpuReader, GpuState, energy_used, summarize
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.unsteady import unsteady_cpu, unsteady_gpu

GPU_PERIOD_S = 0.25
"""The time between readings of a GPU: NVML answers within milliseconds, but its values change no more often."""


@dataclass
class Watch:
    """The state of a machine from before the first timed pass to the present.

    Attributes:
        device: the device that computes.
        reader: reads the state of a GPU.
        clock: returns the time in seconds.
        before: the conditions when the watch began.
        cpu_clock: samples of the CPU's clock.
        gpu_states: readings of the GPU.
        started: the time of the first reading of the GPU, in seconds.
        ended: the time of the last one.
    """

    device: torch.device
    reader: GpuReader
    clock: Callable[[], float] = time.perf_counter
    before: Conditions = field(default_factory=read_conditions)
    cpu_clock: ClockWatch = field(default_factory=ClockWatch)
    gpu_states: list[GpuState] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0

    def look(self) -> None:
        """Read the clocks, and the GPU if the last reading is old; call it after each round of passes."""
        self.cpu_clock.sample()
        now = self.clock()
        if not self.gpu_states:
            self.started = now
        if not self.gpu_states or now - self.ended >= GPU_PERIOD_S:
            self.gpu_states.append(self.reader.read())
            self.ended = now

    def warnings(self) -> tuple[WarningRecord, ...]:
        """Return the warnings about the machine since the watch began."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else None
        interval = span_between(self.before, read_conditions())
        return (
            *unsteady_cpu(interval, read_cores(), threads, self.cpu_clock.samples_hz),
            *unsteady_gpu(self.gpu_states),
        )

    @property
    def gpu(self) -> GpuState | None:
        """The typical state of the GPU; None where nothing could be read."""
        return summarize(self.gpu_states)

    @property
    def watts(self) -> float | None:
        """The mean power between the first and the last reading, in watts; None where it could not be read."""
        seconds = self.ended - self.started
        joules = energy_used(self.gpu_states, seconds)
        return None if joules is None else joules / seconds


def watch(device: torch.device) -> Watch:
    """Begin to watch the CPU, and the device if it is a GPU."""
    return Watch(device, device_of(device).sensors())

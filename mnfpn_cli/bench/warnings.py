"""Watch the machine while passes are timed, and warn of runs whose samples or outputs are to be trusted less."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from mnfpn_cli.bench.results import MeasuredRun
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.conditions import ClockWatch, Conditions, read_conditions, span_between
from mnfpn_cli.devices.machine import read_cores
from mnfpn_cli.devices.nvml import GpuReader, GpuState, energy_used, summarize
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.statistics import drift, humps
from mnfpn_cli.measure.unsteady import unsteady_cpu, unsteady_gpu
from mnfpn_cli.text import percent

GRAPHS = ("cuda-graph", "compiled")
"""Runtimes that already queue a pass as one graph."""


def run_warnings(run: MeasuredRun, train: bool = False) -> Iterator[WarningRecord]:
    """Yield the warnings about a run, each with the run in its cause.

    Args:
        run: a measured run.
        train: whether its passes are training steps.
    """
    warnings = (*_sample_warnings(run), *_launch_warnings(run, train), *run.warnings)
    yield from (warning.within(str(run.key)) for warning in warnings)


def _sample_warnings(run: MeasuredRun) -> Iterator[WarningRecord]:
    latency, warm_up = run.latency, run.warm_up
    if warm_up.settled is False:
        yield WarningRecord(
            kind="not_settled",
            cause=f"{warm_up.passes} passes of warm-up ({warm_up.seconds:.1f} s) never became steady",
            helps="measure when the machine is idle, or longer (`min_time`)",
        )
    change = drift(latency.samples)
    if change is not None:
        slower = "slower" if change > 0 else "faster"
        yield WarningRecord(
            kind="drift",
            cause=f"passes became {percent(abs(change))} {slower} from the first third of the run to the last",
            helps="let it run longer (`min_time`), and look at what heats, throttles or loads the machine",
        )
    two = humps(latency)
    if two:
        yield WarningRecord(
            kind="two_humps",
            cause=f"passes take {two.fast * 1e3:.4g} ms or {two.slow * 1e3:.4g} ms, "
            f"{percent(two.share_slow, '.0f')} of them the latter: the median describes only one of the two",
            helps="fix the number of threads and the clock, and measure when the machine is idle",
        )
    if latency.slow_first:
        yield WarningRecord(
            kind="slow_first",
            cause="the first timed pass was an outlier",
            helps="more passes of warm-up (`warmup`)",
        )


def _launch_warnings(run: MeasuredRun, train: bool) -> Iterator[WarningRecord]:
    """Warn that the host, not the GPU, sets the time; a CUDA graph helps where one can be recorded."""
    if run.launch_bound:
        graph_helps = not train and run.key.runtime not in GRAPHS
        yield WarningRecord(
            kind="launch_bound",
            cause=f"the host takes {percent(run.enqueue_share or 0, '.0f')} of a pass to queue its work: "
            "the GPU waits for launches",
            helps="CUDA graphs (`runtime` cuda-graph), or larger batches" if graph_helps else "larger batches",
        )


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

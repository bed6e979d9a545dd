"""The runs that are timed in turn: all runtimes on one device and one input."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import nn

from mnfpn_cli.bench.prepare import ExplainingTimer, Named, Ready, prepare, reference_outputs
from mnfpn_cli.bench.results import BenchRun, MeasuredRun, NotRun, RunKey
from mnfpn_cli.bench.workload import BenchWorkload
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.clocks import ColdTimer, Timer
from mnfpn_cli.devices.conditions import ClockWatch, Conditions, read_conditions, span_between
from mnfpn_cli.devices.machine import read_cores
from mnfpn_cli.devices.nvml import GpuReader, GpuState, energy_used, summarize
from mnfpn_cli.documents.records import Ended
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import Inputs
from mnfpn_cli.measure.engine import BenchRule, TimedRun, rest_between, rewarm, take_samples
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.measure.unsteady import Unsteady, unsteady_cpu, unsteady_gpu
from mnfpn_cli.runtimes.runtime import Job, random_tensors, unavailable_reason
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import BenchCase

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
        interval = span_between(self.before, read_conditions())
        return (
            *unsteady_cpu(interval, read_cores(), threads, self.cpu_clock.samples_hz),
            *unsteady_gpu(self.gpu_states),
        )

    @property
    def gpu(self) -> GpuState | None:
        """What the GPU was like; None where nothing could be read."""
        return summarize(self.gpu_states)

    @property
    def watts(self) -> float | None:
        """Mean power between the first and the last reading."""
        seconds = self.ended - self.started
        joules = energy_used(self.gpu_states, seconds)
        return None if joules is None else joules / seconds


def watch(device: torch.device) -> Watch:
    """Begin to watch a device, and the CPU in any case."""
    return Watch(device, device_of(device).sensors())


Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it is."""


@dataclass(frozen=True)
class Group:
    """What the runtimes of a case are timed with in turn.

    Attributes:
        workload: whose network it is.
        network: in float32, on the CPU; it stays as it is.
        input: of each pass.
        device: that all run on.
        case: what to run and how.
    """

    workload: BenchWorkload
    network: nn.Module
    input: Inputs
    device: torch.device
    case: BenchCase

    def job(self, dtype: DType) -> Job:
        """A copy of the network, and random images, the same every time."""
        network, inputs = deepcopy(self.network), random_tensors(self.input)
        return Job(network, self.workload.origin.one_graph, inputs, self.device, dtype, self.case.train)

    def key(self, runtime: str) -> RunKey:
        """The run of a runtime."""
        return RunKey(runtime, str(self.device), self.input)

    def doing(self, runtime: str) -> str:
        """What is being done, for errors."""
        return f"{runtime} on {self.device} at batch {self.input.batch}, {self.input.size}, {self.case.dtype}"


@dataclass(frozen=True, slots=True)
class Timed:
    """The runs of a group, what the machine did meanwhile, and what ended it."""

    runs: tuple[BenchRun, ...]
    unsteady: tuple[Unsteady, ...]
    ended: Ended


def time_group(group: Group, progress: Progress) -> Timed:
    """Make all runtimes ready, and time them in turn.

    On Ctrl-C during the timed passes the runs hold what was measured by then.
    """
    timer = device_of(group.device).timer()
    ready, not_run = _make_ready(group, timer, progress)
    if group.case.cold_cache and ready:
        timer = ColdTimer(timer, device_of(group.device).cache_clearer())
    subjects = {name: TimedRun(one.run, ExplainingTimer(timer, group.doing(name))) for name, one in ready.items()}
    what = f"timing on {group.device}, batch {group.input.batch}, {group.input.size}"
    rule = BenchRule(group.case.sampling, lambda share: progress(what, share))
    watched = watch(group.device)
    rewarm(list(subjects.values()), group.device.type)
    ended = take_samples(
        list(subjects.values()), rule, watched.look, rest_between(group.device.type, group.case.runtimes)
    )
    unsteady = watched.unsteady()
    runs = (
        not_run.get(name) or _row(group.key(name), ready[name], subjects[name], ended, watched, len(subjects) == 1)
        for name in group.case.runtimes
    )
    return Timed(tuple(run for run in runs if run), unsteady if subjects else (), ended)


def _make_ready(group: Group, timer: Timer, progress: Progress) -> tuple[Mapping[str, Ready], Mapping[str, NotRun]]:
    """Each runtime ready to be timed, or the reason why it is not."""
    ready: dict[str, Ready] = {}
    not_run: dict[str, NotRun] = {}
    expected = reference(group, progress)
    for name in group.case.runtimes:
        reason = unavailable_reason(name, group.workload.origin, group.device, group.case.dtype, group.case.train)
        if reason is not None:
            not_run[name] = NotRun(group.key(name), "unavailable", reason)
            continue
        progress(f"preparing {name} on {group.device}, and warming up", 0.0)
        try:
            job, passes = group.job(group.case.dtype), group.case.sampling.warmup
            ready[name] = prepare(name, job, timer, passes, expected, group.doing(name))
        except MnfpnError as error:
            not_run[name] = NotRun(group.key(name), "failed", error.message, error.details)
    return ready, not_run


def reference(group: Group, progress: Progress) -> Named | None:
    """What eager float32 gives; None where there is nothing to compare with it, or it does not fit."""
    here = (group.device.type, group.case.dtype, group.case.runtimes)
    if group.case.train or here == ("cpu", "float32", ("eager",)):
        return None
    progress(f"running eager float32 on {group.device}", 0.0)
    try:
        return reference_outputs(group.job("float32"))
    except MnfpnError:
        return None  # the runs say what fails; a smaller dtype may fit where this does not


def _row(key: RunKey, ready: Ready, subject: TimedRun, ended: Ended, watched: Watch, alone: bool) -> BenchRun | None:
    if not subject.samples:
        return NotRun(key, "failed", subject.failure) if subject.failure else None
    latency, watts = Latency(tuple(subject.samples)), watched.watts if alone else None
    return MeasuredRun(
        key=key,
        device_name=device_of(torch.device(key.device)).model(),
        threads=torch.get_num_threads(),
        first=ready.first,
        warm_up=ready.warm_up,
        latency=latency,
        enqueue=Latency(tuple(subject.enqueue)) if subject.enqueue and ready.queued else None,
        ended="failed" if subject.failure else ended,
        difference=ready.difference,
        peak_memory_bytes=ready.peak_memory_bytes,
        added_memory_bytes=ready.added_memory_bytes,
        gpu=watched.gpu,
        energy_j=None if watts is None else watts * latency.median,  # of runs in turn, each one's power is not known
        failure=subject.failure or ready.failure,
        doubts=ready.doubts,
    )

"""Time a group: the runs of all runtimes on one device and one input, in turn with each other."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from mnfpn_cli.bench.outputs import NamedTensors
from mnfpn_cli.bench.postprocess import PostprocessRun, ReadyPostprocess, prepare_postprocess
from mnfpn_cli.bench.prepare import ExplainingTimer, Ready, explained, prepare_run, run_eager_float32
from mnfpn_cli.bench.results import BenchRun, MeasuredRun, NotRun, RunKey
from mnfpn_cli.bench.watch import Watch, watch
from mnfpn_cli.bench.workload import BenchWorkload
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.timers import ColdTimer, Timer
from mnfpn_cli.documents.records import Ended, WarningRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import FromSettings, Inputs
from mnfpn_cli.measure.engine import BenchRule, TimedRun, rest_between, rewarm, take_samples
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.runtimes.runtime import Job, input_tensors, unavailable_reason
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.text import ReportProgress


@dataclass(frozen=True)
class Group:
    """A network, an input and a device, which several runtimes share.

    Attributes:
        workload: the source of the network and its inputs.
        network: the network in float32 on the CPU; it is never changed.
        input: the input of each pass.
        device: the device of all runs.
        case: the runtimes, the dtype, and how to time them.
    """

    workload: BenchWorkload
    network: nn.Module
    input: Inputs
    device: torch.device
    case: BenchCase

    def job(self, dtype: DType) -> Job:
        """Return a job of a copy of the network and random inputs, which are the same in every call."""
        network, inputs = deepcopy(self.network), input_tensors(self.input)
        return Job(network, self.workload.origin.one_graph, inputs, self.device, dtype, self.case.train)

    def key(self, runtime: str) -> RunKey:
        """Return the key of a runtime's run."""
        return RunKey(runtime, str(self.device), self.input)

    def doing(self, runtime: str) -> str:
        """Name a runtime's run in messages."""
        return f"{runtime} on {self.device} at batch {self.input.batch}, {self.input.size}, {self.case.dtype}"


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The runs of a group, the warnings about the machine, what ended the measurement, and the time to make boxes."""

    runs: tuple[BenchRun, ...]
    warnings: tuple[WarningRecord, ...]
    ended: Ended
    postprocess: PostprocessRun | None = None


def time_group(group: Group, progress: ReportProgress) -> GroupResult:
    """Prepare all runtimes, and time them in turn.

    Ctrl-C during the timed passes ends the measurement; the runs have the samples that were taken until then.
    """
    timer = device_of(group.device).timer()
    ready, not_run = _prepare_all(group, timer, progress)
    if group.case.cold_cache and ready:
        timer = ColdTimer(timer, device_of(group.device).cache_clearer())
    passes = {name: TimedRun(one.run, ExplainingTimer(timer, group.doing(name))) for name, one in ready.items()}
    boxes = _prepare_postprocess(group) if passes else None
    after = [TimedRun(boxes.run, ExplainingTimer(timer, group.doing("postprocessing")))] if boxes else []
    doing = f"timing on {group.device}, batch {group.input.batch}, {group.input.size}"
    rule = BenchRule(group.case.sampling, lambda share: progress(doing, share))
    watched = watch(group.device)
    timed = [*passes.values(), *after]
    rewarm(timed, group.device.type)
    rest = rest_between(group.device.type, group.case.runtimes)
    ended = take_samples(timed, rule, watched.look, rest)
    warnings = watched.warnings() if passes else ()
    runs = (
        not_run.get(name) or _run(group.key(name), ready[name], passes[name], ended, watched, len(passes) == 1)
        for name in group.case.runtimes
    )
    made = _postprocess_run(group, boxes, after[0]) if boxes else None
    return GroupResult(tuple(run for run in runs if run), warnings, ended, made)


def _prepare_postprocess(group: Group) -> ReadyPostprocess | None:
    origin, input = group.workload.origin, group.input
    if not group.case.postprocess or not isinstance(origin, FromSettings) or not isinstance(input, NetworkInput):
        return None
    with explained(group.doing("postprocessing")):
        return prepare_postprocess(origin, group.network, input, group.device, group.case)


def _postprocess_run(group: Group, ready: ReadyPostprocess, timed: TimedRun) -> PostprocessRun | None:
    """Return what was timed; None where Ctrl-C came before."""
    if not timed.samples:
        return None
    latency = Latency(tuple(timed.samples))
    return PostprocessRun(str(group.device), group.input, ready.measured_on, ready.boxes, latency)


def _prepare_all(
    group: Group, timer: Timer, progress: ReportProgress
) -> tuple[Mapping[str, Ready], Mapping[str, NotRun]]:
    """Prepare each runtime; return those that are ready by name, and the runs of those that are not."""
    ready: dict[str, Ready] = {}
    not_run: dict[str, NotRun] = {}
    expected = eager_outputs(group, progress)
    for name in group.case.runtimes:
        reason = unavailable_reason(name, group.workload.origin, group.device, group.case.dtype, group.case.train)
        if reason is not None:
            not_run[name] = NotRun(group.key(name), "unavailable", reason)
            continue
        progress(f"preparing {name} on {group.device}, and warming up", 0.0)
        try:
            job, warmup = group.job(group.case.dtype), group.case.sampling.warmup
            ready[name] = prepare_run(name, job, timer, warmup, expected, group.doing(name))
        except MnfpnError as error:
            not_run[name] = NotRun(group.key(name), "failed", error.message, error.details)
    return ready, not_run


def eager_outputs(group: Group, progress: ReportProgress) -> NamedTensors | None:
    """Return the outputs of eager float32 on the group's device.

    None where passes are training steps, where eager float32 on the CPU is the only run, or where it cannot be run. On
    a GPU eager float32 is compared with itself too, as a timed pass may round to TF32.
    """
    only_run = (group.device.type, group.case.dtype, group.case.runtimes)
    if group.case.train or only_run == ("cpu", "float32", ("eager",)):
        return None
    progress(f"running eager float32 on {group.device}", 0.0)
    try:
        return run_eager_float32(group.job("float32"))
    except MnfpnError:
        return None  # the runs report what fails; a smaller dtype may fit where float32 does not


def _run(key: RunKey, ready: Ready, timed: TimedRun, ended: Ended, watched: Watch, alone: bool) -> BenchRun | None:
    """Return the run of a runtime; None where it was interrupted before its first sample."""
    if not timed.samples:
        return NotRun(key, "failed", timed.failure) if timed.failure else None
    latency, watts = Latency(tuple(timed.samples)), watched.watts if alone else None
    return MeasuredRun(
        key=key,
        gpu_name=device_of(torch.device(key.device)).model(),
        threads=torch.get_num_threads(),
        first=ready.first,
        warm_up=ready.warm_up,
        latency=latency,
        enqueue=Latency(tuple(timed.enqueue)) if timed.enqueue and ready.queued else None,
        ended="failed" if timed.failure else ended,
        difference=ready.difference,
        peak_memory_bytes=ready.peak_memory_bytes,
        added_memory_bytes=ready.added_memory_bytes,
        gpu=watched.gpu,
        energy_j=None if watts is None else watts * latency.median,  # the power of one of several runs is not known
        failure=timed.failure or ready.failure,
        warnings=ready.warnings,
    )

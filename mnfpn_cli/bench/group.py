"""Time a group: the runs of all runtimes on one device and one input, in turn with each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from mnfpn_cli.bench.judge import Judge, Reference
from mnfpn_cli.bench.postprocess import PostprocessRun, ReadyPostprocess, prepare_postprocess
from mnfpn_cli.bench.prepare import (
    Checked,
    ExplainingTimer,
    Ready,
    ReadyRun,
    explained,
    prepare_run,
    run_eager_float32,
)
from mnfpn_cli.bench.results import BenchRun, MeasuredRun, NoProfile, NotRun, OwnProcess, ProfiledRun, RunKey
from mnfpn_cli.bench.watch import watch
from mnfpn_cli.bench.workload import BenchWorkload
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.devices.timers import ColdTimer, Timer
from mnfpn_cli.documents.records import Ended, WarningRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.external.origin import FromSettings, Inputs
from mnfpn_cli.measure.engine import BenchRule, TimedRun, rewarm, settling_of, take_samples
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.quantization.calibration import CalibrationInputs
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes.litert import dtype_of
from mnfpn_cli.runtimes.runtime import Job, unavailable_reason
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.measuring import LITERT, BenchCase
from mnfpn_cli.text import ReportProgress
from mnfpn_cli.trace.inputs import input_tensors


@dataclass(frozen=True)
class Group:
    """A network, an input and a device, which several runtimes share.

    Attributes:
        workload: the source of the network and its inputs.
        network: the network in float32 on the CPU; it is never changed.
        input: the input of each pass.
        device: the device of all runs.
        case: the runtimes, the dtypes, and how to time them.
        images: what int8 is calibrated with, and outputs are judged by; None where all runs are in float32.
    """

    workload: BenchWorkload
    network: nn.Module
    input: Inputs
    device: torch.device
    case: BenchCase
    images: CalibrationInputs | None = None

    def job(self, dtype: DType, file: Path | None = None, *, copy: bool = True) -> Job:
        """Return a job of a copy of the network, or of a file, and random inputs, which are the same in every call.

        Without ``copy`` it is of the network itself, which the runtime may change.

        Raises:
            UsageError: where a layer that is to stay in float32 is none of the network's.
        """
        network, inputs = copy_network(self.network) if copy else self.network, input_tensors(self.input)
        quantization = self.quantization() if dtype == "int8" and file is None else None
        one_graph, train = self.workload.origin.one_graph, self.case.train
        return Job(network, one_graph, inputs, self.device, dtype, train, quantization, file)

    def quantization(self) -> Quantization:
        """Return how the network is quantised to int8.

        Raises:
            UsageError: where a layer that is to stay in float32 is none of the network's.
        """
        assert self.images is not None
        return Quantization(self.images.calibrate, expand_keep_float(self.network, self.case.quantization.keep_float))

    @property
    def keys(self) -> tuple[RunKey, ...]:
        """The keys of all runs, in order; that of a file comes last, on the CPU alone."""
        runs = list(self.case.runs)
        if self.case.tflite and self.device.type == "cpu":
            runs.append((LITERT, _dtype_of(self.case.tflite)))
        return tuple(RunKey(runtime, str(self.device), self.input, dtype) for runtime, dtype in runs)

    def doing(self, key: RunKey) -> str:
        """Name a run in messages."""
        return f"{key.runtime} on {self.device} at batch {self.input.batch}, {self.input.size}, {key.dtype}"


@cache
def _dtype_of(file: Path) -> DType:
    """Return the dtype of a .tflite file; float32 of one that cannot be read, whose run then says so."""
    try:
        return dtype_of(file)
    except MnfpnError:
        return "float32"


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The result of a group.

    Attributes:
        runs: what was measured, and what was not.
        warnings: about the machine.
        ended: what ended the measurement.
        postprocess: the time to make boxes; None where it was not asked for.
        profiles: of the runs, where they were made in the processes of these; else None.
    """

    runs: tuple[BenchRun, ...]
    warnings: tuple[WarningRecord, ...]
    ended: Ended
    postprocess: PostprocessRun | None = None
    profiles: tuple[ProfiledRun | NoProfile, ...] | None = None


def time_group(group: Group, progress: ReportProgress) -> GroupResult:
    """Prepare all runtimes in this process, and time them in turn.

    Ctrl-C during the timed passes ends the measurement; the runs have the samples that were taken until then.
    """
    ready, not_run = _prepare_all(group, device_of(group.device).timer(), progress)
    timer = case_timer(group.device, group.case) if ready else device_of(group.device).timer()
    passes = {key: TimedRun(one.prepared.run, ExplainingTimer(timer, group.doing(key))) for key, one in ready.items()}
    taken = time_in_turn(group, passes, progress)
    runs = (
        not_run.get(key) or timed_run(key, ready[key].ready, ready[key].checked, passes[key], taken)
        for key in group.keys
    )
    return GroupResult(tuple(run for run in runs if run), taken.warnings, taken.ended, taken.postprocess)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was seen while the passes of a group were timed.

    Attributes:
        ended: what ended the measurement.
        warnings: about the machine.
        gpu: the state of the GPU; None where it could not be read.
        watts: the mean power; None where it could not be read, and of several runs, of which each takes its own.
        postprocess: the time to make boxes; None where it was not asked for.
    """

    ended: Ended
    warnings: tuple[WarningRecord, ...] = ()
    gpu: GpuState | None = None
    watts: float | None = None
    postprocess: PostprocessRun | None = None


def time_in_turn(group: Group, passes: Mapping[RunKey, TimedRun], progress: ReportProgress) -> Taken:
    """Time the passes of all runs in turn, and what makes boxes of outputs with them; watch the machine meanwhile."""
    boxes = _prepare_postprocess(group) if passes else None
    timer = ExplainingTimer(case_timer(group.device, group.case), postprocessing(group)) if boxes else None
    after = [TimedRun(boxes.run, timer)] if boxes and timer else []
    doing = f"timing on {group.device}, batch {group.input.batch}, {group.input.size}"
    rule = BenchRule(group.case.sampling, lambda share: progress(doing, share))
    watched = watch(group.device)
    timed = [*passes.values(), *after]
    rewarm(timed, group.device.type)
    settling = settling_of(group.device.type, [*map(str, passes), *["postprocess"] * len(after)])
    ended = take_samples(timed, rule, watched.look, settling)
    warnings = watched.warnings() if passes else ()
    made = _postprocess_run(group, boxes, after[0]) if boxes else None
    return Taken(ended, warnings, watched.gpu, watched.watts if len(passes) == 1 else None, made)


def case_timer(device: torch.device, case: BenchCase) -> Timer:
    """Return the timer of the timed passes of a case."""
    timer = device_of(device).timer()
    return ColdTimer(timer, device_of(device).cache_clearer()) if case.cold_cache else timer


def postprocessing(group: Group) -> str:
    """Name the postprocessing of a group in messages."""
    return f"postprocessing on {group.device} at batch {group.input.batch}, {group.input.size}"


def _prepare_postprocess(group: Group) -> ReadyPostprocess | None:
    origin, input = group.workload.origin, group.input
    if not group.case.postprocess or not isinstance(origin, FromSettings) or not isinstance(input, NetworkInput):
        return None
    with explained(postprocessing(group)):
        return prepare_postprocess(origin, group.network, input, group.device, group.case)


def _postprocess_run(group: Group, ready: ReadyPostprocess, timed: TimedRun) -> PostprocessRun | None:
    """Return what was timed; None where Ctrl-C came before."""
    if not timed.samples:
        return None
    latency = Latency(tuple(timed.samples))
    return PostprocessRun(str(group.device), group.input, ready.measured_on, ready.boxes, latency)


def _prepare_all(
    group: Group, timer: Timer, progress: ReportProgress
) -> tuple[Mapping[RunKey, ReadyRun], Mapping[RunKey, NotRun]]:
    """Prepare each run; return those that are ready, and those that are not."""
    ready: dict[RunKey, ReadyRun] = {}
    not_run: dict[RunKey, NotRun] = {}
    reference = eager_outputs(group, progress)
    for key in group.keys:
        reason = unavailable_reason(key.runtime, group.workload.origin, group.device, key.dtype, group.case.train)
        if reason is not None:
            not_run[key] = NotRun(key, "unavailable", reason)
            continue
        progress(f"preparing {key.runtime} in {key.dtype} on {group.device}, and warming up", 0.0)
        try:
            file = group.case.tflite if key.runtime == LITERT else None
            job, warmup = group.job(key.dtype, file), group.case.sampling.warmup
            ready[key] = prepare_run(
                key.runtime,
                job,
                timer,
                warmup,
                reference.outputs if reference else None,
                group.doing(key),
                judge_of(group, key, reference),
            )
        except MnfpnError as error:
            not_run[key] = NotRun(key, "failed", error.message, error.details)
    return ready, not_run


def judge_of(group: Group, key: RunKey, reference: Reference | None) -> Judge | None:
    """Return what a run is judged by; None in float32, and where nothing is known to judge by."""
    if key.dtype == "float32" or group.images is None or reference is None:
        return None
    return Judge(group.workload.origin, group.input, group.images, reference.judged)


def eager_outputs(group: Group, progress: ReportProgress) -> Reference | None:
    """Return the outputs of eager float32 on the group's device, and on the CPU those on the images to judge by.

    None where passes are training steps, where eager float32 on the CPU is the only run, or where it cannot be run. On
    a GPU eager float32 is compared with itself too, as a timed pass may round to TF32.
    """
    runs = [(key.runtime, key.dtype) for key in group.keys]
    if group.case.train or (group.device.type == "cpu" and runs == [("eager", "float32")]):
        return None
    progress(f"running eager float32 on {group.device}", 0.0)
    try:
        return run_eager_float32(group.job("float32"), group.images.judge if group.images else ())
    except MnfpnError:
        return None  # the runs report what fails; a smaller dtype may fit where float32 does not


def timed_run(
    key: RunKey,
    ready: Ready,
    checked: Checked,
    timed: TimedRun,
    taken: Taken,
    own_process: OwnProcess | None = None,
) -> BenchRun | None:
    """Return the run of a runtime; None where it was interrupted before its first sample.

    Args:
        key: of the run.
        ready: what preparing it has shown.
        checked: what is known of its outputs.
        timed: its samples.
        taken: what was seen meanwhile.
        own_process: the figures of its own process; None where it had none.
    """
    if not timed.samples:
        return NotRun(key, "failed", timed.failure) if timed.failure else None
    latency = Latency(tuple(timed.samples))
    return MeasuredRun(
        key=key,
        gpu_name=ready.gpu_name,
        threads=ready.threads,
        first=ready.first,
        warm_up=ready.warm_up,
        latency=latency,
        enqueue=Latency(tuple(timed.enqueue)) if timed.enqueue and ready.queued else None,
        ended="failed" if timed.failure else taken.ended,
        difference=checked.difference,
        peak_memory_bytes=ready.peak_memory_bytes,
        added_memory_bytes=ready.added_memory_bytes,
        gpu=taken.gpu,
        page_faults=None if timed.faults is None or key.device != "cpu" else timed.faults / len(timed.samples),
        energy_j=None if taken.watts is None else taken.watts * latency.median,
        failure=timed.failure or checked.failure,
        warnings=(*ready.warnings, *checked.warnings),
        quality=checked.quality,
        graph=checked.graph,
        file_bytes=ready.file_bytes,
        keep_float=ready.keep_float,
        own_process=own_process,
    )

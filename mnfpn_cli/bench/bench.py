"""Run a benchmark: count what a network costs, and time it at each size and batch, on each device, by each runtime."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import nn

from mnfpn_cli.bench.group import Group, GroupResult, time_group
from mnfpn_cli.bench.isolated import time_isolated
from mnfpn_cli.bench.noise import noise_of
from mnfpn_cli.bench.postprocess import check_detects
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.profile import profile_group
from mnfpn_cli.bench.results import Benchmark, BenchRun, NoProfile, NotRun, ProfiledRun, RunKey, SizeCost
from mnfpn_cli.bench.run_warnings import run_warnings, unprofiled_warnings
from mnfpn_cli.bench.workload import BenchWorkload, model_bytes
from mnfpn_cli.devices.allocator import use_allocator
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.threads import cpu_threads
from mnfpn_cli.documents.bench import InputNoise
from mnfpn_cli.documents.records import WarningRecord, WeightsRecord
from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError, UsageError
from mnfpn_cli.external.guard import exclusive, output_to_stderr
from mnfpn_cli.external.origin import Inputs, Origin
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.memory import check_needed, out_of_memory_explained
from mnfpn_cli.plan.cost import WholeCost
from mnfpn_cli.quantization.calibration import MOST_CALIBRATING, CalibrationInputs, calibration_inputs
from mnfpn_cli.quantization.calibration_files import check_calibration
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.text import ReportProgress


@dataclass(frozen=True)
class BuiltWorkload:
    """A workload, its network on the CPU in float32, what that costs, and the checkpoint in it."""

    workload: BenchWorkload
    network: nn.Module
    cost: SizeCost
    weights: WeightsRecord | None


def build_workloads(
    workloads: Sequence[BenchWorkload], case: BenchCase, progress: ReportProgress
) -> list[BuiltWorkload]:
    """Build the networks, and count what they cost. Workloads of one origin share one network.

    Raises:
        UsageError: where a checkpoint belongs to another network.
        MnfpnError: where memory runs out.
    """
    built: list[BuiltWorkload] = []
    for workload in workloads:
        progress("counting", len(built) / len(workloads))
        with out_of_memory_explained(f"counting {workload.input(1).size} with fvcore"):
            same = next((one for one in built if one.workload.origin == workload.origin), None)
            network, weights = (same.network, same.weights) if same else workload.build()
            built.append(BuiltWorkload(workload, network, _cost(workload, network, case), weights))
    return built


def _cost(workload: BenchWorkload, network: nn.Module, case: BenchCase) -> SizeCost:
    first = workload.input(case.batches[0])
    return SizeCost(
        size=first.size,
        cost=workload.cost(),
        fvcore=workload.fvcore(network),
        activation_bytes=workload.needed(first, case.dtypes[0]).activations,
        model_bytes=model_bytes(network, case.dtypes[0]),
    )


def benchmark(
    workloads: Sequence[BenchWorkload],
    case: BenchCase,
    device_names: Sequence[str],
    cpu_name: Callable[[], str],
    progress: ReportProgress,
) -> Benchmark:
    """Count what a network costs, and time it. After Ctrl-C, return what was measured until then, marked incomplete.

    Whatever the network or a library prints meanwhile goes to standard error.

    Args:
        workloads: the network at each size of its inputs.
        case: what to run at each size, and how to time it.
        device_names: the devices to run on.
        cpu_name: waits for the name of the CPU and returns it; called before anything is timed.
        progress: called with what is being done.

    Raises:
        UsageError: where no input fits the free memory of a device, or a checkpoint belongs to another network.
        MnfpnError: where there is no such device or allocator, or nothing could be run.
    """
    devices = choose_devices(device_names)
    if not case.isolate or case.postprocess:  # boxes are made in this process
        use_allocator(case.allocator)
    with one_at_a_time():
        return _benchmark(workloads, case, devices, cpu_name, progress)


def _benchmark(
    workloads: Sequence[BenchWorkload],
    case: BenchCase,
    devices: Sequence[torch.device],
    cpu_name: Callable[[], str],
    progress: ReportProgress,
) -> Benchmark:
    if case.postprocess:
        check_detects(workloads, case.image)
    if case.tflite and not case.tflite.is_file():
        raise UsageError(Problem("`tflite`", "must be a file", f"'{case.tflite}'"))
    for workload in workloads:
        check_calibration(case.quantization, workload.origin.preprocess, workload.input(case.batches[0]))
    fitting, unfit = _fitting(workloads, devices, case)
    built = build_workloads(fitting, case, progress)
    for one in built:
        expand_keep_float(one.network, case.quantization.keep_float)
    environment = read_environment(cpu_name(), case.allocator)
    groups, profiles, noise, complete = list[GroupResult](), list[ProfiledRun | NoProfile](), list[InputNoise](), True
    try:
        for device, one, batch in product(devices, built, case.batches):
            input = one.workload.input(batch)
            images = run_images(one.workload.origin, input, case, progress)
            group = Group(one.workload, one.network, input, device, case, images)
            with conditions(device, case):
                groups.append(_time(group, progress))
                profiles += _profile(group, groups[-1], progress)
                if case.by_layer and device == devices[0]:
                    noise += noise_of(group, progress)
    except KeyboardInterrupt:
        complete = False
    runs = (*(run for one in groups for run in one.runs), *unfit)
    _check_any(runs, complete)
    return Benchmark(
        case,
        tuple(one.cost for one in built),
        runs,
        (
            *_uncounted_warnings(built),
            *_machine_warnings(groups),
            *_run_warnings(runs, case),
            *unprofiled_warnings(profiles),
        ),
        environment,
        built[0].weights,
        complete,
        tuple(one.postprocess for one in groups if one.postprocess),
        tuple(one for one in profiles if isinstance(one, ProfiledRun)),
        tuple(noise),
        tuple(one for one in profiles if isinstance(one, NoProfile)),
    )


def run_images(origin: Origin, input: Inputs, case: BenchCase, progress: ReportProgress) -> CalibrationInputs | None:
    """Return what int8 is calibrated with and outputs are judged by; None where all runs are in float32 or train."""
    if case.train or (set(case.dtypes) == {"float32"} and not case.tflite):
        return None
    calibrating = MOST_CALIBRATING if "int8" in case.dtypes else 0
    return calibration_inputs(case.quantization, origin.preprocess, input, progress, calibrating)


def _uncounted_warnings(built: Sequence[BuiltWorkload]) -> Iterator[WarningRecord]:
    """Warn of operations that multiply and add, and whose MACs are not counted."""
    costs = [one.cost.cost for one in built]
    names = {name for cost in costs if isinstance(cost, WholeCost) for name in cost.uncounted}
    if names:
        yield WarningRecord(kind="uncounted", cause=f"not counted in MACs: {', '.join(sorted(names))}", helps="")


def _machine_warnings(groups: Sequence[GroupResult]) -> Iterable[WarningRecord]:
    """Return the first warning of each kind about the machine."""
    return {warning.kind: warning for group in reversed(groups) for warning in group.warnings}.values()


def _run_warnings(runs: Sequence[BenchRun], case: BenchCase) -> Iterator[WarningRecord]:
    for run in runs:
        if run.status == "measured":
            yield from run_warnings(run, case.train, case.allocator)


def _fitting(
    workloads: Sequence[BenchWorkload], devices: Sequence[torch.device], case: BenchCase
) -> tuple[list[BenchWorkload], list[BenchRun]]:
    """Return the workloads that fit the memory of the CPU, where fvcore counts them, and the runs of the others.

    An external network that fails at a size does not fit either.

    Raises:
        MnfpnError: where none fits; a UsageError where memory is the only reason.
    """
    fitting, unfit = list[BenchWorkload](), list[BenchRun]()
    for workload in workloads:
        image = workload.input(1)
        try:
            check_needed(workload.needed(image, "float32"), image, "float32", torch.device("cpu"))
            workload.needed(workload.input(case.batches[0]), case.widest)
            fitting.append(workload)
        except MnfpnError as error:
            unfit += [
                _not_run(RunKey(runtime, str(device), workload.input(batch), dtype), error)
                for device, batch, (runtime, dtype) in product(devices, case.batches, case.runs)
            ]
    if not fitting:
        _check_any(unfit, complete=True)
    return fitting, unfit


def _not_run(key: RunKey, error: MnfpnError) -> NotRun:
    status: Literal["too_large", "failed"] = "too_large" if isinstance(error, UsageError) else "failed"
    return NotRun(key, status, error.message, error.details)


def _time(group: Group, progress: ReportProgress) -> GroupResult:
    """Time a group; an error that concerns all of it is the reason of each of its runs."""
    try:
        with explained(f"a pass on {group.device} at batch {group.input.batch}, {group.input.size}"):
            needed = group.workload.needed(group.input, group.case.widest)
            check_needed(needed, group.input, group.case.widest, group.device)
            return time_isolated(group, progress) if group.case.isolate else time_group(group, progress)
    except MnfpnError as error:
        return GroupResult(tuple(_not_run(key, error) for key in group.keys), (), "failed")


def _profile(group: Group, result: GroupResult, progress: ReportProgress) -> list[ProfiledRun | NoProfile]:
    """Profile the runs of a group where the case asks for it.

    Raises:
        KeyboardInterrupt: where the group's runs were interrupted.
    """
    if result.ended == "interrupted":
        raise KeyboardInterrupt
    if result.profiles is not None:
        return list(result.profiles)
    if not (group.case.by_layer or group.case.roofline):
        return []
    return profile_group(group, result.runs, progress)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Measure in the block: alone in this process, as outside of any ``torch.no_grad``, with all output to stderr."""
    with exclusive(), torch.inference_mode(False), torch.enable_grad(), output_to_stderr():
        yield


@contextmanager
def conditions(device: torch.device, case: BenchCase) -> Iterator[None]:
    """Run the block on the device, with the case's number of CPU threads, and without gradients for inference."""
    with (
        device_of(device).current(),  # CUDA events are recorded on the stream of the current device
        cpu_threads(case.threads),
        nullcontext() if case.train else torch.inference_mode(),
    ):
        yield


def _check_any(runs: Sequence[BenchRun], complete: bool) -> None:
    """Check that at least one run was measured.

    Raises:
        KeyboardInterrupt: where Ctrl-C came before anything was measured.
        UsageError: where every run is too large for the memory.
        UnavailableError: where no run is possible on this machine.
        MnfpnError: where the runs failed.
    """
    not_run = [run for run in runs if run.status != "measured"]
    if len(not_run) < len(runs):
        return
    if not complete:
        raise KeyboardInterrupt
    too_large = all(run.status == "too_large" for run in not_run)
    reasons = dict.fromkeys(Problem("" if too_large else str(run.key), run.reason) for run in not_run)
    unavailable = all(run.status == "unavailable" for run in not_run)
    failure = (UsageError if too_large else UnavailableError if unavailable else MnfpnError)(*reasons)
    failure.details = "\n".join(dict.fromkeys(run.details for run in not_run if run.details))
    raise failure

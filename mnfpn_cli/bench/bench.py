"""A benchmark: what a network costs, and how fast it runs on devices, at sizes and batches, by runtimes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import nn

from mnfpn_cli.bench.group import Group, Progress, Timed, time_group
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.profile import profile_group
from mnfpn_cli.bench.results import (
    Benchmark,
    BenchRun,
    MeasuredRun,
    NoProfile,
    NotRun,
    ProfiledRun,
    RunKey,
    SizeCost,
    bench_document,
)
from mnfpn_cli.bench.workload import BenchWorkload, PlannedWorkload, model_bytes
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.records import WarningRecord, WeightsRecord
from mnfpn_cli.documents.worker import Measured, RunRequest, RunResponse
from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError, UsageError
from mnfpn_cli.external.guard import output_to_stderr
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.memory import check_needed, out_of_memory_explained
from mnfpn_cli.measure.statistics import drift, humps
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.text import percent

GRAPHS = ("cuda-graph", "compiled")
"""Runtimes that queue a pass as one graph already."""

IDLE = "measure when the machine is idle, or longer (`min_time`)"


def run_warnings(run: MeasuredRun, train: bool = False) -> Iterator[WarningRecord]:
    """Yield the warnings about the samples and the outputs of a run."""
    where, latency = str(run.key), run.latency
    if run.warm_up.settled is False:
        yield WarningRecord(
            kind="not_settled",
            cause=f"{where}: {run.warm_up.passes} passes of warm-up ({run.warm_up.seconds:.1f} s) never became steady",
            helps=IDLE,
        )
    change = drift(latency.samples)
    if change is not None:
        slower = "slower" if change > 0 else "faster"
        yield WarningRecord(
            kind="drift",
            cause=f"{where}: passes became {percent(abs(change))} {slower} from the first third of the run to the last",
            helps="let it run longer (`min_time`), and look at what heats, throttles or loads the machine",
        )
    two = humps(latency)
    if two:
        yield WarningRecord(
            kind="two_humps",
            cause=f"{where}: passes take {two.fast * 1e3:.4g} ms or {two.slow * 1e3:.4g} ms, "
            f"{percent(two.share_slow, '.0f')} of them the latter: the median is one of two truths",
            helps="fix the number of threads and the clock, and measure when the machine is idle",
        )
    if latency.slow_first:
        yield WarningRecord(
            kind="slow_first",
            cause=f"{where}: the first timed pass was an outlier",
            helps="more passes of warm-up (`warmup`)",
        )
    if run.launch_bound:
        yield WarningRecord(
            kind="launch_bound",
            cause=f"{where}: the host takes {percent(run.enqueue_share or 0, '.0f')} of a pass to queue its work: "
            "the GPU waits for launches",
            helps="larger batches"
            if train or run.key.runtime in GRAPHS
            else "CUDA graphs (`runtime` cuda-graph), or larger batches",
        )
    yield from (warning.within(where) for warning in run.warnings)


@dataclass(frozen=True)
class Sized:
    """A network for inputs of one size: a head can be made for it."""

    workload: BenchWorkload
    network: nn.Module
    cost: SizeCost
    weights: WeightsRecord | None


def sized_networks(workloads: Sequence[BenchWorkload], case: BenchCase, progress: Progress) -> list[Sized]:
    """Build each network once, and count what it costs at each size; ``progress`` is told.

    Raises:
        UsageError: where the weights are another network's.
        MnfpnError: where memory runs out.
    """
    made: list[Sized] = []
    for workload in workloads:
        progress("counting", len(made) / len(workloads))
        with out_of_memory_explained(f"counting {workload.input(1).size} with fvcore"):
            same = next((one for one in made if one.workload.origin == workload.origin), None)
            network, loaded = (same.network, same.weights) if same else workload.build()
            made.append(Sized(workload, network, _cost(workload, network, case), loaded))
    return made


def _cost(workload: BenchWorkload, network: nn.Module, case: BenchCase) -> SizeCost:
    first = workload.input(case.batches[0])
    return SizeCost(
        size=first.size,
        cost=workload.cost(),
        fvcore=workload.fvcore(network),
        activation_bytes=workload.needed(first, case.dtype).activations,
        model_bytes=model_bytes(network, case.dtype),
    )


def benchmark(
    workloads: Sequence[BenchWorkload],
    case: BenchCase,
    device_names: Sequence[str],
    cpu_name: Callable[[], str],
    progress: Progress,
) -> Benchmark:
    """Count what a network costs, and time it. On Ctrl-C what was measured by then is returned, marked incomplete.

    What is printed meanwhile goes to standard error: a network of others, or a library, may print in every pass.

    Args:
        workloads: the network for each size of its inputs.
        case: what to run at each size, and how to time it.
        device_names: where to run it.
        cpu_name: is waited for before anything is timed.
        progress: is told what is being done.

    Raises:
        UsageError: where no input fits the memory that a device has free, or the weights are another network's.
        MnfpnError: where there is no such device, or nothing could be run.
    """
    devices = choose_devices(device_names)
    with output_to_stderr():
        return _benchmark(workloads, case, devices, cpu_name, progress)


def _benchmark(
    workloads: Sequence[BenchWorkload],
    case: BenchCase,
    devices: Sequence[torch.device],
    cpu_name: Callable[[], str],
    progress: Progress,
) -> Benchmark:
    fitting, unfit = _fitting(workloads, devices, case)
    networks = sized_networks(fitting, case, progress)
    environment = read_environment(cpu_name())
    timed, profiles, complete = list[Timed](), list[ProfiledRun | NoProfile](), True
    try:
        for device, sized, batch in product(devices, networks, case.batches):
            group = Group(sized.workload, sized.network, sized.workload.input(batch), device, case)
            with conditions(device, case):
                timed.append(_measure(group, progress))
                profiles += _profile(group, timed[-1], progress)
    except KeyboardInterrupt:
        complete = False
    runs = (*(run for one in timed for run in one.runs), *unfit)
    _check_any(runs, complete)
    return Benchmark(
        case,
        tuple(sized.cost for sized in networks),
        runs,
        (
            *_machine_warnings(timed),
            *(one for run in runs if run.status == "measured" for one in run_warnings(run, case.train)),
        ),
        environment,
        networks[0].weights,
        complete,
        tuple(one for one in profiles if isinstance(one, ProfiledRun)),
        tuple(one for one in profiles if isinstance(one, NoProfile)),
    )


def _machine_warnings(timed: Sequence[Timed]) -> Iterable[WarningRecord]:
    """Return the first warning of each kind about the machine."""
    return {warning.kind: warning for one in reversed(timed) for warning in one.warnings}.values()


def _fitting(
    workloads: Sequence[BenchWorkload], devices: Sequence[torch.device], case: BenchCase
) -> tuple[list[BenchWorkload], list[BenchRun]]:
    """The sizes of which an image fits the CPU, where fvcore counts it, and the runs of those that do not.

    Nor do those at which a network of others fails.

    Raises:
        MnfpnError: where none fits; a UsageError where that is for want of memory.
    """
    fitting, unfit = list[BenchWorkload](), list[BenchRun]()
    for workload in workloads:
        image = workload.input(1)
        try:
            check_needed(workload.needed(image, "float32"), image, "float32", torch.device("cpu"))
            workload.needed(workload.input(case.batches[0]), case.dtype)
            fitting.append(workload)
        except MnfpnError as error:
            unfit += [
                _not_run(RunKey(name, str(device), workload.input(batch)), error)
                for device, batch, name in product(devices, case.batches, case.runtimes)
            ]
    if not fitting:
        _check_any(unfit, complete=True)
    return fitting, unfit


def _not_run(key: RunKey, error: MnfpnError) -> NotRun:
    status: Literal["too_large", "failed"] = "too_large" if isinstance(error, UsageError) else "failed"
    return NotRun(key, status, error.message, error.details)


def _measure(group: Group, progress: Progress) -> Timed:
    """The runs of one device and input; an error that is of all of them loses no others."""
    try:
        with explained(f"a pass on {group.device} at batch {group.input.batch}, {group.input.size}"):
            needed = group.workload.needed(group.input, group.case.dtype)
            check_needed(needed, group.input, group.case.dtype, group.device)
            return time_group(group, progress)
    except MnfpnError as error:
        return Timed(tuple(_not_run(group.key(name), error) for name in group.case.runtimes), (), "failed")


def _profile(group: Group, timed: Timed, progress: Progress) -> list[ProfiledRun | NoProfile]:
    """Where the time of the group's runs goes, if that was asked for.

    Raises:
        KeyboardInterrupt: where the group's runs were interrupted.
    """
    if timed.ended == "interrupted":
        raise KeyboardInterrupt
    if not (group.case.by_layer or group.case.roofline):
        return []
    return profile_group(group, timed.runs, progress)


@contextmanager
def conditions(device: torch.device, case: BenchCase) -> Iterator[None]:
    """What passes run under: on their device, with so many threads, and without gradients where none are needed."""
    with (
        device_of(device).current(),  # events are put on its stream
        thread_count(case.threads),
        nullcontext() if case.train else torch.inference_mode(),
    ):
        yield


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Run with a number of CPU threads, torch's own choice where it is None; the count before is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_any(runs: Sequence[BenchRun], complete: bool) -> None:
    """Make sure that there is something to report.

    Raises:
        KeyboardInterrupt: where it was interrupted before anything was measured.
        MnfpnError: where nothing could be measured; an UnavailableError where nothing of it can run here.
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


INTERRUPTED = "it was interrupted"


def measure(work: RunRequest) -> RunResponse:
    """Measure a run; why that could not be done is the result's reason."""
    try:
        origin = FromSettings(work.settings)
        return _result(_one_run(work, origin), origin)
    except UnavailableError as error:  # where it cannot run is known: it is the run
        return RunResponse(status="unavailable", reason=error.problems[0].rule, measured=None)
    except MnfpnError as error:
        return _failed(error.message)
    except KeyboardInterrupt:
        return _failed(INTERRUPTED)


def _one_run(work: RunRequest, origin: FromSettings) -> Benchmark:
    case = BenchCase(
        batches=(work.batch,),
        runtimes=(work.runtime,),
        dtype=work.dtype,
        threads=work.threads,
        train=work.train,
        by_layer=work.by_layer,
        sampling=work.sampling.sampling(),
    )
    network = PlannedWorkload(origin, Size(work.height, work.width))
    with reading_cpu_name() as cpu_name:
        return benchmark([network], case, [work.device], cpu_name, lambda _doing, _share: None)


def _result(result: Benchmark, origin: FromSettings) -> RunResponse:
    document = bench_document(result, origin)
    (run,) = document.runs
    if run.failure is not None or not document.complete:
        return _failed(run.failure or INTERRUPTED)
    measured = Measured(
        run=run,
        warnings=document.warnings,
        environment=document.environment,
        profile=next(iter(document.profiles or ()), None),
    )
    return RunResponse(status="done", reason="\n".join(document.failures) or None, measured=measured)


def _failed(reason: str) -> RunResponse:
    return RunResponse(status="failed", reason=reason, measured=None)

"""Compare two networks by timing them in turn, A B B A, in one process. `compare_files` compares recorded results."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch

from mnfpn_cli.bench.bench import conditions, one_at_a_time
from mnfpn_cli.bench.comparison import (
    CompareCase,
    TimedSide,
    compare_document,
    compared_run,
    failure_of,
    run_name,
    side_warnings,
)
from mnfpn_cli.bench.group import Group, eager_outputs
from mnfpn_cli.bench.prepare import Checked, ExplainingTimer, Ready, ReadyRun, prepare_run
from mnfpn_cli.bench.run_warnings import fault_warnings
from mnfpn_cli.bench.watch import watch
from mnfpn_cli.bench.workload import BenchWorkload, bench_workloads, workload_figures
from mnfpn_cli.devices.allocator import use_allocator
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.documents.compare import CompareDocument, SideRecord, SideTimes
from mnfpn_cli.documents.records import Ended, WarningRecord
from mnfpn_cli.errors import MnfpnError, Problem, within
from mnfpn_cli.external.origin import Inputs
from mnfpn_cli.measure.engine import RatioRule, TimedRun, rewarm, settling_of, take_samples
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.memory import check_needed
from mnfpn_cli.measure.statistics import paired_ratio
from mnfpn_cli.quantization.calibration import CalibrationInputs, calibration_inputs
from mnfpn_cli.runtimes.runtime import unavailable_reason
from mnfpn_cli.settings.measuring import Allocator
from mnfpn_cli.settings.quantization import QuantizationCase
from mnfpn_cli.text import ReportProgress


def compare_networks(
    sides: tuple[TimedSide, TimedSide], case: CompareCase, cpu_name: Callable[[], str], progress: ReportProgress
) -> CompareDocument:
    """Time two networks in turn, and decide which is faster. Whatever they print goes to standard error.

    Where Ctrl-C or the failure of a side ends the timed passes, the verdict is on the samples until then, and the
    comparison is marked incomplete.

    Raises:
        UsageError: where a target is no network, the input does not fit the memory of the device, or a network cannot
            take it.
        MnfpnError: where there is no such device or allocator, or a side cannot be run on it.
        KeyboardInterrupt: where Ctrl-C came before anything was timed.
    """
    with one_at_a_time():
        return _compare(sides, case, cpu_name, progress)


def _compare(
    sides: tuple[TimedSide, TimedSide], case: CompareCase, cpu_name: Callable[[], str], progress: ReportProgress
) -> CompareDocument:
    workloads, groups, ready = list[BenchWorkload](), list[Group](), list[ReadyRun]()
    for name, side in zip("ab", sides, strict=True):
        with within(f"`{name}`"):
            workloads += bench_workloads([side.workload], case.seed)
    (device,) = choose_devices([case.device_name])
    use_allocator(case.allocator)
    for name, side, workload in zip("AB", sides, workloads, strict=True):
        with within(f"{name} ({side.name})"):
            groups.append(_build(side, workload, case, device))
    environment = read_environment(cpu_name())
    with conditions(device, groups[0].case):
        for name, side, group in zip("AB", sides, groups, strict=True):
            with within(f"{name} ({side.name})"):
                ready.append(_prepare(group, progress))
        timed, ended, machine_warnings = _time(groups, ready, case, progress)
        name, samples = run_name(*sides, case, str(device)), [passes.samples for passes in timed]
        run = compared_run(name, samples, paired_ratio(*samples), case.margin, ended)
        a, b = (_side_record(*each) for each in zip(sides, groups, ready, (run.a, run.b), strict=True))
    return compare_document(
        a,
        b,
        [run],
        case.margin,
        (
            *machine_warnings,
            *side_warnings(*sides),
            *_ready_warnings(ready),
            *side_fault_warnings([[one] for one in timed], device, case.allocator),
        ),
        complete=ended not in ("interrupted", "failed"),
        failure=failure_of([passes.failure or side.checked.failure for passes, side in zip(timed, ready, strict=True)]),
        environment=environment,
    )


def _build(side: TimedSide, workload: BenchWorkload, case: CompareCase, device: torch.device) -> Group:
    """Build the network of a side, after checking that it can run and fits.

    Raises:
        UsageError: where it does not fit the memory of the device, or the checkpoint belongs to another network.
        MnfpnError: where its runtime cannot run there, or an external network fails.
    """
    input = workload.input(case.batch)
    reason = unavailable_reason(side.runtime, workload.origin, device, side.dtype, case.train)
    if reason is not None:
        raise MnfpnError(Problem(f"{side.runtime} on {device}", reason))
    check_needed(workload.needed(input, side.dtype), input, side.dtype, device)
    network, _ = workload.build()
    return Group(workload, network, input, device, case.of(side.runtime, side.dtype), _images(side, input))


def _images(side: TimedSide, input: Inputs) -> CalibrationInputs | None:
    """Return random images to calibrate int8 with: they set no time, and nothing else is judged here."""
    if side.dtype != "int8":
        return None
    scaling, usual = side.workload.origin.preprocess, QuantizationCase()
    return calibration_inputs(usual, scaling, input, lambda _doing, _share: None, most_judging=0)


def _prepare(group: Group, progress: ReportProgress) -> ReadyRun:
    """Prepare the only runtime of a group.

    Raises:
        MnfpnError: where that cannot be done.
    """
    (key,) = group.keys
    reference = eager_outputs(group, progress)
    progress(f"preparing {key.runtime}", 0.0)
    timer, warmup = device_of(group.device).timer(), group.case.sampling.warmup
    expected = reference.outputs if reference else None
    return prepare_run(key.runtime, group.job(key.dtype), timer, warmup, expected, group.doing(key))


def _time(
    groups: Sequence[Group], ready: Sequence[ReadyRun], case: CompareCase, progress: ReportProgress
) -> tuple[list[TimedRun], Ended, tuple[WarningRecord, ...]]:
    """Time both sides in turn; return their samples, what ended it, and the warnings about the machine.

    Raises:
        MnfpnError: where a side failed before its first sample.
        KeyboardInterrupt: where Ctrl-C came before the first sample of a side.
    """
    device = groups[0].device
    timer = device_of(device).timer()
    timed = [
        TimedRun(side.prepared.run, ExplainingTimer(timer, group.doing(group.keys[0])))
        for group, side in zip(groups, ready, strict=True)
    ]
    watched = watch(device)
    rule = RatioRule(case.sampling, lambda share: progress("timing A B B A", share))
    rewarm(timed, device.type)
    settling = settling_of(device.type, [name for group in groups for name in group.case.runtimes])
    ended = take_samples(timed, rule, watched.look, settling)
    if all(passes.samples for passes in timed):
        return timed, ended, watched.warnings()
    failure = failure_of([passes.failure for passes in timed])
    raise MnfpnError(failure) if failure else KeyboardInterrupt


def _side_record(side: TimedSide, group: Group, ready: ReadyRun, times: SideTimes) -> SideRecord:
    return side.record(
        group.input,
        times,
        device=str(group.device),
        threads=torch.get_num_threads(),
        train=group.case.train,
        figures=workload_figures(group.workload, group.network, group.input, side.dtype),
        difference=ready.checked.difference,
    )


def _ready_warnings(ready: Sequence[ReadyRun]) -> Iterator[WarningRecord]:
    for name, side in zip("AB", ready, strict=True):
        yield from prepared_warnings(name, side.ready, side.checked)


def side_fault_warnings(
    sides: Sequence[Sequence[TimedRun]], device: torch.device, allocator: Allocator
) -> Iterator[WarningRecord]:
    """Warn of the page faults of A and of B, each of one or several processes."""
    for name, processes in zip("AB", sides, strict=True):
        samples = [seconds for one in processes for seconds in one.samples]
        faults = sum(one.faults or 0 for one in processes) if device.type == "cpu" else 0
        if samples:
            yield from (one.within(name) for one in fault_warnings(faults / len(samples), median(samples), allocator))


def prepared_warnings(name: str, ready: Ready, checked: Checked) -> Iterator[WarningRecord]:
    """Warn of a side's warm-up and outputs. Drift affects both sides, and so is not in their ratio."""
    if ready.warm_up.settled is False:
        yield WarningRecord(
            kind="not_settled",
            cause=f"{name}: {ready.warm_up.passes} passes of warm-up never became steady",
            helps="a longer `warmup`, or an idle machine",
        )
    yield from (warning.within(name) for warning in (*ready.warnings, *checked.warnings))

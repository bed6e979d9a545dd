"""Time a group with a process for each run: prepared there one after the other, and timed in turn, one at a time."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

from mnfpn_cli.bench.group import Group, GroupResult, Taken, time_in_turn, timed_run
from mnfpn_cli.bench.messages import EndedRun
from mnfpn_cli.bench.prepare import Checked, Ready
from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.bench.request import request_of
from mnfpn_cli.bench.results import LAUNCH_BOUND, BenchRun, NoProfile, NotRun, OwnProcess, ProfiledRun, RunKey
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.engine import TimedRun
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.runtimes.runtime import unavailable_reason
from mnfpn_cli.text import ReportProgress


def time_isolated(group: Group, progress: ReportProgress) -> GroupResult:
    """Start a process for each run, prepare them one after the other, and time them in turn.

    A process that dies is a run that failed; the others continue. Ctrl-C during the timed passes ends the measurement,
    and the runs have the samples that were taken until then. No process is left behind.
    """
    with ExitStack() as stack:
        processes, not_run = _start(group, stack)
        ready = _prepare(group, processes, not_run, progress)
        passes = {key: TimedRun(no_pass_here, processes[key]) for key in ready}
        taken = time_in_turn(group, passes, progress)
        ends = dict[RunKey, EndedRun]()
        try:
            if taken.ended != "interrupted":
                ends.update((key, end_run(processes[key], one, progress)) for key, one in passes.items() if one.samples)
        except KeyboardInterrupt:
            taken = replace(taken, ended="interrupted")
    runs = (not_run.get(key) or _run(key, ready, passes, processes, ends, taken) for key in group.keys)
    return GroupResult(
        tuple(run for run in runs if run),
        taken.warnings,
        taken.ended,
        taken.postprocess,
        tuple(_profiles(ends)),
    )


def _start(group: Group, stack: ExitStack) -> tuple[dict[RunKey, RunProcess], dict[RunKey, NotRun]]:
    """Start the process of each run that is possible; they load their networks at once, which is not measured."""
    processes, not_run = dict[RunKey, RunProcess](), dict[RunKey, NotRun]()
    for key in group.keys:
        reason = unavailable_reason(key.runtime, group.workload.origin, group.device, key.dtype, group.case.train)
        if reason is not None:
            not_run[key] = NotRun(key, "unavailable", reason)
            continue
        with _not_run_where_it_fails(key, not_run):
            processes[key] = stack.enter_context(closing(RunProcess(request_of(group, key))))
    return processes, not_run


def _prepare(
    group: Group, processes: Mapping[RunKey, RunProcess], not_run: dict[RunKey, NotRun], progress: ReportProgress
) -> dict[RunKey, Ready]:
    """Wait until all have loaded, and have each prepare its run while the others are asleep."""
    loaded, ready = list[RunKey](), dict[RunKey, Ready]()
    for key, process in processes.items():
        progress(f"loading {key.runtime} in {key.dtype} into its process", 0.0)
        with _not_run_where_it_fails(key, not_run):
            process.load(progress)
            loaded.append(key)
    for key in loaded:
        progress(f"preparing {key.runtime} in {key.dtype} on {group.device}, and warming up", 0.0)
        with _not_run_where_it_fails(key, not_run):
            ready[key] = processes[key].prepare(progress)
    return ready


@contextmanager
def _not_run_where_it_fails(key: RunKey, not_run: dict[RunKey, NotRun]) -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        not_run[key] = NotRun(key, "unavailable", error.problems[0].rule)
    except MnfpnError as error:
        not_run[key] = NotRun(key, "failed", error.message, error.details)


def no_pass_here() -> None:
    """Stand for the pass, which is the process's."""


def end_run(process: RunProcess, timed: TimedRun, progress: ReportProgress) -> EndedRun:
    """Return what the process of a run knows after its passes; of one that fails now, that its outputs are unknown."""
    if timed.failure:
        return EndedRun(Checked(), None)
    pass_s, enqueue = Latency(tuple(timed.samples)).median, timed.enqueue
    launch_bound = bool(enqueue) and Latency(tuple(enqueue)).median > LAUNCH_BOUND * pass_s
    try:
        return process.end(pass_s, launch_bound, progress)
    except MnfpnError as error:
        return EndedRun(Checked(failure=error.message), None)


def _run(
    key: RunKey,
    ready: Mapping[RunKey, Ready],
    passes: Mapping[RunKey, TimedRun],
    processes: Mapping[RunKey, RunProcess],
    ends: Mapping[RunKey, EndedRun],
    taken: Taken,
) -> BenchRun | None:
    if not passes[key].samples:
        return timed_run(key, ready[key], Checked(), passes[key], taken)
    end = ends.get(key, EndedRun(Checked(), None))
    own_process = OwnProcess(end.passes_memory_bytes, processes[key].turn_s, end.driver_memory_bytes)
    return timed_run(
        key, _to_the_end(ready[key], end.passes_memory_bytes), end.checked, passes[key], taken, own_process
    )


def _to_the_end(ready: Ready, passes: int | None) -> Ready:
    """Return what preparing has shown, with the memory of the passes where that is more."""
    if ready.peak_memory_bytes is None or ready.added_memory_bytes is None or passes is None:
        return ready
    more = max(0, passes - ready.peak_memory_bytes)
    return replace(
        ready,
        peak_memory_bytes=ready.peak_memory_bytes + more,
        added_memory_bytes=ready.added_memory_bytes + more,
    )


def _profiles(ends: Mapping[RunKey, EndedRun]) -> Iterator[ProfiledRun | NoProfile]:
    for key, end in ends.items():
        if end.profile is not None:
            yield ProfiledRun(key, end.profile)
        elif end.no_profile is not None:
            yield NoProfile(key, end.no_profile.reason, end.no_profile.status == "unavailable")

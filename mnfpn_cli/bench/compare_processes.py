"""Compare two networks with several processes a side, each pair of them timed in turn, A B B A.

The processes of a side may have an interpreter, environment variables and a commit of their own (`sides`). A new
process has other addresses and hash seeds, so the verdict holds beyond the luck of one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from statistics import median

import torch

from mnfpn_cli.bench.bench import conditions, one_at_a_time
from mnfpn_cli.bench.compare import prepared_warnings, side_fault_warnings
from mnfpn_cli.bench.comparison import (
    CompareCase,
    TimedSide,
    compare_document,
    compared_run,
    failure_of,
    run_name,
    side_warnings,
)
from mnfpn_cli.bench.isolated import end_run, no_pass_here
from mnfpn_cli.bench.messages import Described
from mnfpn_cli.bench.prepare import Checked, Ready
from mnfpn_cli.bench.processes import RunProcess, can_start_processes
from mnfpn_cli.bench.request import run_request
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.bench.run_warnings import odd_pair_warnings
from mnfpn_cli.bench.sides import PlacedSide
from mnfpn_cli.bench.watch import watch
from mnfpn_cli.devices.choose import choose_devices
from mnfpn_cli.documents.compare import CompareDocument, ComparedRun
from mnfpn_cli.documents.records import Ended, WarningRecord
from mnfpn_cli.errors import MnfpnError, Problem, UsageError, within
from mnfpn_cli.measure.engine import (
    RatioRule,
    TimedRun,
    pair_sampling,
    processes_ended,
    rewarm,
    settling_of,
    take_samples,
)
from mnfpn_cli.measure.statistics import process_ratio
from mnfpn_cli.text import ReportProgress

NAMES = "AB"
THREADS_VARIABLE = "OMP_NUM_THREADS"
"""The environment variable that torch takes its number of threads from."""


@dataclass(frozen=True)
class ProcessSide(TimedSide):
    """A side that is timed in processes of its own; ``placed``: how they are started."""

    placed: PlacedSide

    def __str__(self) -> str:
        return f"{self.placed.label} ({self.name})"

    def start(self, case: CompareCase) -> RunProcess:
        """Start a process of the side, which loads its network.

        Raises:
            MnfpnError: where none can be started.
        """
        key = RunKey(self.runtime, case.device_name, self.input(case.batch), self.dtype)
        request = run_request(self.workload.origin, case.seed, case.of(self.runtime, self.dtype), key)
        return RunProcess(request, self.placed.python, self.placed.environment, self.placed.folder)


def compare_processes(
    sides: tuple[ProcessSide, ProcessSide],
    case: CompareCase,
    processes: int,
    differences: Sequence[WarningRecord],
    cpu_name: Callable[[], str],
    progress: ReportProgress,
) -> CompareDocument:
    """Time two networks in turn, with several processes each, and decide which is faster.

    Where Ctrl-C or the failure of a side ends it, the verdict is on the samples until then, and the comparison is
    marked incomplete. No process is left behind.

    Args:
        sides: A and B.
        case: what both share.
        processes: of each side.
        differences: warnings about what differs between the sides.
        cpu_name: returns the name of the processor.
        progress: is called with what is being done and the share of it that is done.

    Raises:
        UsageError: where the number of threads is given twice.
        MnfpnError: where this system has no such processes, a side cannot be run, or fails before its first sample.
        KeyboardInterrupt: where Ctrl-C came before the first sample of a side.
    """
    for name, side in zip(NAMES.lower(), sides, strict=True):
        if case.threads is not None and (given := dict(side.placed.environment).get(THREADS_VARIABLE)):
            rule = f"cannot set {THREADS_VARIABLE} where `threads` sets the number"
            raise UsageError(Problem(f"`{name}_env`", rule, f"'{given}'"))
    if not can_start_processes():
        raise MnfpnError(Problem("`processes`", "needs pipes that can be waited for, which this system has not"))
    with one_at_a_time():
        described = _describe(sides, case, progress)
        turns = _Turns(sides, case, processes, _device_here(described[0].device), progress)
        turns.take()
    return _document(turns, described, differences, cpu_name())


def _describe(
    sides: tuple[ProcessSide, ProcessSide], case: CompareCase, progress: ReportProgress
) -> tuple[Described, Described]:
    """Return what both sides need and where they would run; a process of each says so, and ends.

    Raises:
        MnfpnError: where a side cannot be run, or the sides choose different devices.
    """
    with ExitStack() as stack:
        started = [stack.enter_context(closing(side.start(case))) for side in sides]  # both load at once

        def describe(side: ProcessSide, process: RunProcess) -> Described:
            progress(f"loading {side.placed.label}", 0.0)
            with within(str(side)):
                process.load(progress)
                return process.describe(progress)

        a, b = map(describe, sides, started)
    if a.device != b.device:
        raise MnfpnError(Problem("`device`", "must be one that both sides have", f"{a.device} and {b.device}"))
    return a, b


def _device_here(name: str) -> torch.device:
    """Return the device to watch: that of the passes, or the CPU where this process cannot use it."""
    try:
        (device,) = choose_devices([name])
    except MnfpnError:  # the interpreter of a side has another torch
        return torch.device("cpu")
    return device


@dataclass
class _Turns:
    """The pairs of processes, and what was measured of them so far.

    Attributes:
        sides: A and B.
        case: what both share.
        processes: how many there are of each side.
        device: the device that is watched.
        progress: is called with what is being done and the share of it that is done.
        timed: of A and of B, the passes of each process.
        ready: of A and of B, what preparing each process has shown.
        checked: of A and of B, the outputs of the first process.
        ends: what ended the passes of each pair.
        turns: the seconds that each turn of a process took beside the pass.
        spent: the seconds that timing took so far.
        warnings: about the machine, the first of each kind.
        failures: why A and B failed; None where they did not.
    """

    sides: tuple[ProcessSide, ProcessSide]
    case: CompareCase
    processes: int
    device: torch.device
    progress: ReportProgress
    timed: tuple[list[TimedRun], list[TimedRun]] = field(default_factory=lambda: ([], []))
    ready: tuple[list[Ready], list[Ready]] = field(default_factory=lambda: ([], []))
    checked: list[Checked] = field(default_factory=lambda: [Checked(), Checked()])
    ends: list[Ended] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    spent: float = 0.0
    warnings: dict[str, WarningRecord] = field(default_factory=dict)
    failures: list[str | None] = field(default_factory=lambda: [None, None])

    @property
    def samples(self) -> tuple[list[list[float]], list[list[float]]]:
        """Of A and of B, the times of each process's passes in seconds."""
        a, b = ([passes.samples for passes in side] for side in self.timed)
        return a, b

    def take(self) -> None:
        """Time one pair of processes after the other, until Ctrl-C or a failure.

        Raises:
            MnfpnError: where a side failed before its first sample.
            KeyboardInterrupt: where Ctrl-C came before the first sample of a side.
        """
        try:
            for number in range(self.processes):
                with ExitStack() as stack:
                    self._time_pair(number, stack)
                if any(self.failures):
                    self.ends.append("failed")
                    break
        except KeyboardInterrupt:
            self.ends.append("interrupted")
        if not all(any(processes) for processes in self.samples):
            failure = failure_of(self.failures)
            raise MnfpnError(failure) if failure else KeyboardInterrupt

    def _time_pair(self, number: int, stack: ExitStack) -> None:
        processes = self._prepare(number, stack)
        if any(self.failures):
            return
        timed = [TimedRun(no_pass_here, process) for process in processes]
        sampling = pair_sampling(self.case.sampling, self.processes, *self.samples, self.spent)
        rule = RatioRule(sampling, lambda share: self._report(number, "timing A B B A", share))
        for passes, side in zip(timed, self.timed, strict=True):
            side.append(passes)  # whose samples grow from now on, also until Ctrl-C
        with conditions(self.device, self.case.of(self.sides[0].runtime, self.sides[0].dtype)):
            watched = watch(self.device)
            rewarm(timed, self.device.type)
            ended = take_samples(timed, rule, watched.look, settling_of(self.device.type, NAMES))
            self.spent += rule.spent
            self.turns += (turn for process in processes for turn in process.turns)
            for one in watched.warnings():
                self.warnings.setdefault(one.kind, one)
        if ended == "interrupted":
            raise KeyboardInterrupt
        self.failures = [passes.failure for passes in timed]
        if not any(self.failures):
            self.ends.append(ended)
            if number == 0:
                self._check(timed, processes)

    def _prepare(self, number: int, stack: ExitStack) -> list[RunProcess]:
        """Start a process of each side and prepare them, each pair in the other order; a failure is noted."""
        started = dict[int, RunProcess]()
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for index in order:  # both load at once
            with self._noting(index):
                started[index] = stack.enter_context(closing(self.sides[index].start(self.case)))
        for step in ("loading", "preparing"):
            for index in order:
                if any(self.failures):
                    return []
                self._report(number, f"{step} {self.sides[index].placed.label}", 0.0)
                with self._noting(index):
                    if step == "loading":
                        started[index].load(_silent)
                    else:
                        self.ready[index].append(started[index].prepare(_silent))
        return [started[index] for index in (0, 1)]

    def _check(self, timed: Sequence[TimedRun], processes: Sequence[RunProcess]) -> None:
        """Compare the outputs of both with those of their own eager float32; what is not worth timing is a failure."""
        for index, (passes, process) in enumerate(zip(timed, processes, strict=True)):
            self._report(0, f"checking {self.sides[index].placed.label}", 1.0)
            self.checked[index] = end_run(process, passes, _silent).checked
        self.failures = [one.failure for one in self.checked]

    @contextmanager
    def _noting(self, index: int) -> Iterator[None]:
        """Note the failure of a side in the block."""
        try:
            yield
        except MnfpnError as error:
            self.failures[index] = error.message

    def _report(self, number: int, doing: str, share: float) -> None:
        pair = f"pair {number + 1} of {self.processes}: " if self.processes > 1 else ""
        self.progress(f"{pair}{doing}", (number + share) / self.processes)


def _silent(_doing: str, _share: float) -> None:
    """Report nothing: the conductor says which pair it is at."""


def _document(
    turns: _Turns, described: Sequence[Described], differences: Sequence[WarningRecord], cpu: str
) -> CompareDocument:
    case = turns.case
    run = _run(turns, described[0].device)
    a, b = (
        side.record(
            side.input(case.batch),
            times,
            device=seen.device,
            threads=ready[0].threads,
            train=case.train,
            figures=seen.figures,
            difference=checked.difference,
            environment=side.placed.record,
        )
        for side, times, seen, ready, checked in zip(
            turns.sides, (run.a, run.b), described, turns.ready, turns.checked, strict=True
        )
    )
    return compare_document(
        a,
        b,
        [run],
        case.margin,
        (
            *turns.warnings.values(),
            *differences,
            *side_warnings(*turns.sides),
            *_ready_warnings(turns),
            *odd_pair_warnings(*turns.samples),
            *side_fault_warnings(turns.timed, turns.device, case.allocator),
        ),
        complete=not {"interrupted", "failed"} & set(turns.ends),
        failure=failure_of(turns.failures),
        environment=described[0].environment.model_copy(update={"cpu": cpu}),
    )


def _run(turns: _Turns, device: str) -> ComparedRun:
    case, ratio = turns.case, process_ratio(*turns.samples)
    samples = [list(chain.from_iterable(side)) for side in turns.samples]
    passes = [tuple(map(len, side)) for side in turns.samples]
    ended = processes_ended(turns.ends, ratio, case.sampling.precision)
    turn_s = median(turns.turns) if turns.turns else None
    return compared_run(run_name(*turns.sides, case, device), samples, ratio, case.margin, ended, passes, turn_s)


def _ready_warnings(turns: _Turns) -> Iterator[WarningRecord]:
    """Warn of each side's outputs, and of a process that was not warm: the first of them."""
    for name, ready, checked in zip(NAMES, turns.ready, turns.checked, strict=True):
        yield from prepared_warnings(
            name, next((one for one in ready if one.warm_up.settled is False), ready[0]), checked
        )

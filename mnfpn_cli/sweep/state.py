"""The state of a sweep while it runs, and its result: how many runs are measured, failed, or could not be run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.records import LatencyModelRecord, StatusCounts
from mnfpn_cli.documents.sweep import (
    FailedRun,
    MeasuredDocument,
    MovedRecord,
    NotRunGroup,
    ReusedRecord,
    SweepCommands,
    TrainingsRecord,
)
from mnfpn_cli.space.runs import run_namer
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep.drift import moved_baselines
from mnfpn_cli.sweep.reuse import reused_by_any
from mnfpn_cli.sweep.training import trainings_record

MOST_REASONS = 10
"""Reasons that `failures` lists; the store has all."""


@dataclass(frozen=True, slots=True)
class CannotRun:
    """A run that no worker can run, and why; it stays pending."""

    run: StoredRun
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """How far a sweep is.

    Attributes:
        sweep: the sweep's number in the store.
        total: its runs, those measured before included.
        done, failed: how many of them are measured, and have failed.
        skipped: runs that were left out as too slow for the latency limit.
        not_run: runs that no worker can run.
        others: runs that another process measures.
        left_s: an estimate of the time left in seconds; None before the first run has finished.
        best: the run with the most MACs within the latency limit; without a limit, the fastest.
        drift: that of the last baseline run.
        notes: warnings.
        last: the run that ended last; None before the first.
    """

    sweep: int
    total: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    not_run: tuple[CannotRun, ...] = ()
    others: int = 0
    left_s: float | None = None
    best: StoredRun | None = None
    drift: float = 1.0
    notes: tuple[str, ...] = ()
    last: StoredRun | None = None

    @property
    def left(self) -> int:
        """The number of runs that are still to be measured."""
        return max(0, self.total - self.done - self.failed - self.skipped - len(self.not_run))


@dataclass(frozen=True, slots=True)
class Swept:
    """The result of one call of `mnfpn sweep`.

    Attributes:
        store: the file or URL of the store.
        sweeps: the sweeps that were measured.
        runs: all of their runs.
        baselines: all of their baseline runs.
        notes: warnings while they ran.
        skipped: the number of runs that were left out as too slow for the latency limit.
        not_run: runs that no worker can run.
        reused: runs with results of an earlier sweep and other options.
        trainings: what the command of the scores gave; None without one.
        models: the models that predict the runs that were not measured.
    """

    store: str
    sweeps: tuple[Sweep, ...]
    runs: tuple[StoredRun, ...]
    baselines: tuple[BaselineTiming, ...]
    notes: tuple[str, ...]
    skipped: int = 0
    not_run: tuple[CannotRun, ...] = ()
    reused: tuple[ReusedRecord, ...] = ()
    trainings: TrainingsRecord | None = None
    models: tuple[LatencyModelRecord, ...] = ()

    @property
    def counts(self) -> StatusCounts:
        """The number of runs of each status."""
        return StatusCounts(**Counter[str](run.status for run in self.runs))

    @property
    def moved(self) -> tuple[MovedRecord, ...]:
        """The baseline runs that moved."""
        return tuple(moved_baselines(self.baselines))

    @property
    def failed(self) -> tuple[FailedRun, ...]:
        """The runs that failed, each named as among all."""
        name = run_namer([one.planned.run for one in self.runs])
        return tuple(
            FailedRun(key=one.key, name=name(one.planned.run), reason=one.result.reason or "")
            for one in self.runs
            if one.status == "failed" and one.result
        )

    @property
    def not_run_groups(self) -> tuple[NotRunGroup, ...]:
        """The runs that no worker can run, counted by runtime, device, dtype, training and reason."""
        executions = ((one.run.execution, one.reason) for one in self.not_run)
        counts = Counter((one.runtime, one.device, one.dtype, one.train, reason) for one, reason in executions)
        return tuple(
            NotRunGroup(runtime=runtime, device=device, dtype=dtype, train=train, reason=reason, runs=number)
            for (runtime, device, dtype, train, reason), number in counts.items()
        )


def read_swept(store: Store, ran: Sequence[Sweep], states: Sequence[State]) -> Swept:
    """Read the result of sweeps from a store.

    Args:
        store: the store.
        ran: the sweeps, the oldest first.
        states: the final states of those that were measured now.

    Raises:
        StoreError: where the store cannot be read.
    """
    by_sweep = {one.id: read_runs(store, one.id) for one in ran}
    known = {one.id: one for one in read_sweeps(store)}
    return Swept(
        store=store.location,
        sweeps=tuple(ran),
        runs=tuple({one.key: one for some in by_sweep.values() for one in some}.values()),
        baselines=tuple(one for one in read_baselines(store) if one.sweep in by_sweep),
        notes=tuple(dict.fromkeys(note for one in states for note in one.notes)),
        skipped=sum(one.skipped for one in states),
        not_run=tuple({left_out.run.key: left_out for one in states for left_out in one.not_run}.values()),
        reused=tuple(reused_by_any(ran, by_sweep, known)),
        trainings=trainings_record(store, ran),
    )


def swept_document(swept: Swept, commands: SweepCommands, warnings: Sequence[str]) -> MeasuredDocument:
    """Make the document of `mnfpn sweep` where runs were measured.

    Args:
        swept: the result.
        commands: the commands that continue from it.
        warnings: the warnings about the result in words; they follow those of the sweeps.
    """
    return MeasuredDocument(
        settings=None,
        model=None,
        store=swept.store,
        sweeps=tuple(sweep.record for sweep in swept.sweeps),
        counts=swept.counts,
        skipped=swept.skipped,
        not_run=swept.not_run_groups,
        failed=swept.failed,
        baselines=len(swept.baselines),
        baseline_moved=swept.moved,
        reused=swept.reused,
        trainings=swept.trainings,
        keys=tuple(run.key for run in swept.runs),
        models=swept.models,
        warnings=(*swept.notes, *warnings),
        commands=commands,
    )


def training_failures(trainings: TrainingsRecord | None) -> list[str]:
    """Return a line for each reason why networks could not be trained, with their number."""
    reasons = Counter(one.reason for one in trainings.failed) if trainings else Counter[str]()
    return [
        f"{number} {'training' if number == 1 else 'trainings'} failed: {reason} (runs show has what it printed)"
        for reason, number in reasons.most_common(MOST_REASONS)
    ]


def failures(runs: Sequence[StoredRun], not_run: Sequence[CannotRun]) -> list[str]:
    """Return a line for each reason why runs failed or could not be run, with their number.

    The most common reasons come first.
    """
    reasons = Counter[tuple[str, str]]()
    for run in runs:
        reason = run.result.reason if run.result else None
        if run.status == "failed":
            reasons["failed", reason or "for an unknown reason"] += 1
        elif run.status == "done" and reason:
            reasons["measured without all that was asked for", reason] += 1
    for left_out in not_run:
        reasons["not run", f"{left_out.run.execution}: {left_out.reason}"] += 1
    lines = [
        f"{number} {'run' if number == 1 else 'runs'} {status}: {'; '.join(reason.splitlines())}"
        for (status, reason), number in reasons.most_common(MOST_REASONS)
    ]
    more = len(reasons) - MOST_REASONS
    return [*lines, *([f"and runs for {more} more reasons"] if more > 0 else [])]

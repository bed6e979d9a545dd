"""How far a sweep is, and what it was asked for and could not do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.sweep import MeasuredDocument, NotRunGroup
from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
from mnfpn_cli.sweep.start import Reused


@dataclass(frozen=True, slots=True)
class CannotRun:
    """A run that no machine there is can run, and why: it stays to be measured."""

    run: StoredRun
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """How far a sweep is.

    Attributes:
        sweep: its number in the store.
        total: runs, those measured before included.
        done, failed: of them.
        skipped: runs that cannot meet the latency.
        not_run: runs that cannot be run here.
        others: runs that another sweep measures.
        left_s: about the time that is left.
        best: the run that keeps the most within the latency; without a limit, the fastest.
        drift: how many times its first time the baseline run took when it was timed last.
        notes: what went wrong besides.
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

    @property
    def left(self) -> int:
        """Runs that are still to be measured."""
        return self.total - self.done - self.failed - self.skipped - len(self.not_run)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one call of `mnfpn sweep` is through with: which sweeps, with all their runs, of which store."""

    store: str
    sweeps: tuple[Sweep, ...]
    runs: tuple[StoredRun, ...]
    baselines: tuple[BaselineTiming, ...]
    notes: tuple[str, ...]
    skipped: int = 0
    not_run: tuple[CannotRun, ...] = ()
    reused: tuple[Reused, ...] = ()

    @property
    def counts(self) -> StatusCounts:
        """The runs by status."""
        return StatusCounts(**Counter[str](one.status for one in self.runs))

    @property
    def ways_not_run(self) -> dict[tuple[str, str, str, bool, str], int]:
        """How many runs could not be run, by runtime, device, dtype, whether they train, and reason."""
        ways = [(one.run.execution, one.reason) for one in self.not_run]
        return dict(
            Counter(
                (execution.runtime, execution.device, execution.dtype, execution.train, reason)
                for execution, reason in ways
            )
        )


def swept_document(swept: Swept, doubts: Sequence[str]) -> MeasuredDocument:
    """Make the document of `mnfpn sweep` where runs were measured.

    ``doubts``: what makes the figures less sure, in sentences; behind what went wrong meanwhile.
    """
    return MeasuredDocument(
        settings=None,
        model=None,
        store=swept.store,
        sweeps=tuple(one.record for one in swept.sweeps),
        counts=swept.counts,
        skipped=swept.skipped,
        not_run=tuple(
            NotRunGroup(runtime=runtime, device=device, dtype=dtype, train=train, reason=reason, runs=number)
            for (runtime, device, dtype, train, reason), number in swept.ways_not_run.items()
        ),
        baselines=len(swept.baselines),
        keys=tuple(one.key for one in swept.runs),
        warnings=(*swept.notes, *doubts),
    )


MOST = 10
"""Reasons that are told; the store has all."""


def failures(runs: Sequence[StoredRun], not_run: Sequence[CannotRun]) -> list[str]:
    """How many runs failed, or could not be run though their runtime was named, and why: a line a reason.

    The most common reasons come first.
    """
    reasons = Counter[tuple[str, str]]()
    for one in runs:
        reason = one.result.reason if one.result else None
        if one.status == "failed":
            reasons["failed", reason or "for no reason that is known"] += 1
        elif one.status == "done" and reason:
            reasons["measured without all that was asked for", reason] += 1
    for left_out in not_run:
        reasons["not run", f"{way(left_out)}: {left_out.reason}"] += 1
    lines = [
        f"{number} {'run' if number == 1 else 'runs'} {what}: {'; '.join(reason.splitlines())}"
        for (what, reason), number in reasons.most_common(MOST)
    ]
    return [*lines, *([f"and runs for {len(reasons) - MOST} more reasons"] if len(reasons) > MOST else [])]


def way(one: CannotRun) -> str:
    """How a run is run, in words."""
    return str(one.run.execution)

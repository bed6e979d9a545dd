"""The runs of a store, with the machine's drift when they were measured; and the documents of `mnfpn runs`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mnfpn_cli.documents.records import PlannedRun
from mnfpn_cli.documents.runs import (
    ResultRecord,
    RunsExportDocument,
    RunsListDocument,
    RunsPruneDocument,
    RunsShowDocument,
    StoredRunRecord,
)
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.space.planned import planned_run
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.change import Removed
from mnfpn_cli.store.rows import BaselineTiming, Result, StoredRun, Sweep
from mnfpn_cli.sweep.drift import drifts_of


@dataclass(frozen=True)
class ListedRun:
    """A run of a store, and the machine's drift when it was measured; None where its baseline stayed."""

    stored: StoredRun
    drift: float | None = None

    @property
    def result(self) -> Result | None:
        """What came of measuring it; None where it is to be measured, if again."""
        return self.stored.result if self.stored.status != "pending" else None

    @property
    def latency(self) -> Latency | None:
        """What was measured."""
        return Latency(self.result.samples) if self.result and self.stored.measured else None


def rows_of(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> list[ListedRun]:
    """Runs, newest first; behind them those that were not."""
    drifts = drifts_of(runs, baselines)
    rows = [ListedRun(one, drifts.get(one.key)) for one in runs]
    return sorted(rows, key=lambda row: row.result.finished if row.result else "", reverse=True)


def executed_run(stored: StoredRun) -> PlannedRun:
    """Describe a run with the device and the threads that it was measured on; as it was asked for where it was not."""
    planned = planned_run(stored.planned)
    threads = stored.measured.run.threads if stored.measured else planned.threads
    return planned.model_copy(update={"device": stored.device, "threads": threads})


Command = Callable[[Run], str]
"""Gives the command that measures a run."""


def stored_run(row: ListedRun, command: Command) -> StoredRunRecord:
    """Describe a run of a store."""
    stored, result, latency = row.stored, row.result, row.latency
    return StoredRunRecord(
        **dict(executed_run(stored)),
        key=stored.key,
        status=stored.status,
        size=str(stored.size),
        batch=stored.execution.batch,
        machine=stored.machine,
        worker=result.worker if result else None,
        latency_s=latency_record(latency) if latency else None,
        drift=row.drift,
        corrected_s=latency.median / row.drift if latency and row.drift else None,
        sweep=result.sweep if result else None,
        started=result.started if result else None,
        finished=result.finished if result else None,
        reason=result.reason if result else None,
        command=command(stored.planned.run),
    )


def list_document(store: str, rows: Sequence[ListedRun], sweeps: Sequence[Sweep], command: Command) -> RunsListDocument:
    """Make the document of `mnfpn runs list`: runs and sweeps in the order in which they come."""
    return RunsListDocument(
        settings=None,
        model=None,
        store=store,
        sweeps=tuple(one.record for one in sweeps),
        runs=tuple(stored_run(row, command) for row in rows),
    )


def export_document(rows: Sequence[ListedRun], command: Command) -> RunsExportDocument:
    """Make the document of `mnfpn runs export`."""
    return RunsExportDocument(settings=None, model=None, runs=tuple(stored_run(row, command) for row in rows))


def show_document(row: ListedRun, results: Sequence[Result], command: Command) -> RunsShowDocument:
    """Make the document of `mnfpn runs show`: a run, and everything that was measured of it, the oldest first."""
    return RunsShowDocument(
        settings=row.stored.settings,
        model=None,
        run=stored_run(row, command),
        results=tuple(map(_result_record, results)),
    )


def _result_record(result: Result) -> ResultRecord:
    measured = result.measured
    return ResultRecord(
        id=result.id,
        sweep=result.sweep,
        status=result.status,
        worker=result.worker,
        started=result.started,
        finished=result.finished,
        reason=result.reason,
        run=measured.run if measured else None,
        warnings=measured.warnings if measured else None,
        environment=measured.environment if measured else None,
        profile=measured.profile if measured else None,
    )


def prune_document(removed: Removed, dry_run: bool) -> RunsPruneDocument:
    """Make the document of `mnfpn runs prune`."""
    return RunsPruneDocument(settings=None, model=None, **asdict(removed), dry_run=dry_run)

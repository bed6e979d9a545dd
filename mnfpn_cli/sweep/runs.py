"""The runs of a store, with the machine's pace when they were measured; and the documents of `mnfpn runs`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mnfpn_cli.documents.costs import PlannedRun
from mnfpn_cli.documents.runs import (
    ResultRecord,
    RunsExportDocument,
    RunsListDocument,
    RunsPruneDocument,
    RunsShowDocument,
    StoredRun,
)
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.space.cells import Cell
from mnfpn_cli.space.planned import planned_run
from mnfpn_cli.store.change import Removed
from mnfpn_cli.store.rows import Reference, Result, StoredCell, Sweep
from mnfpn_cli.sweep.drift import paces_of


@dataclass(frozen=True)
class CellRow:
    """A cell of a store, and the machine's pace when it was measured; None where its reference stayed."""

    stored: StoredCell
    pace: float | None = None

    @property
    def result(self) -> Result | None:
        """What came of measuring it; None where it is to be measured, if again."""
        return self.stored.result if self.stored.status != "pending" else None

    @property
    def latency(self) -> Latency | None:
        """What was measured."""
        return Latency(self.result.samples) if self.result and self.stored.measured else None


def rows_of(cells: Sequence[StoredCell], references: Sequence[Reference]) -> list[CellRow]:
    """Cells, newest first; behind them those that were not."""
    paces = paces_of(cells, references)
    rows = [CellRow(one, paces.get(one.key)) for one in cells]
    return sorted(rows, key=lambda row: row.result.finished if row.result else "", reverse=True)


def executed_run(stored: StoredCell) -> PlannedRun:
    """Describe a run with the device and the threads that it was measured on; as it was asked for where it was not."""
    planned = planned_run(stored.planned)
    threads = stored.measured.run.threads if stored.measured else planned.threads
    return planned.model_copy(update={"device": stored.device, "threads": threads})


Command = Callable[[Cell], str]
"""Gives the command that measures a run."""


def stored_run(row: CellRow, command: Command) -> StoredRun:
    """Describe a run of a store."""
    stored, result, latency = row.stored, row.result, row.latency
    return StoredRun(
        **dict(executed_run(stored)),
        key=stored.key,
        status=stored.status,
        size=str(stored.cell.size),
        batch=stored.cell.execution.batch,
        machine=stored.machine,
        node=result.node if result else None,
        latency_s=latency_record(latency) if latency else None,
        pace=row.pace,
        corrected_s=latency.median / row.pace if latency and row.pace else None,
        sweep=result.sweep if result else None,
        started=result.started if result else None,
        finished=result.finished if result else None,
        reason=result.reason if result else None,
        command=command(stored.cell),
    )


def list_document(store: str, rows: Sequence[CellRow], sweeps: Sequence[Sweep], command: Command) -> RunsListDocument:
    """Make the document of `mnfpn runs list`: runs and sweeps in the order in which they come."""
    return RunsListDocument(
        settings=None,
        model=None,
        store=store,
        sweeps=tuple(one.record for one in sweeps),
        runs=tuple(stored_run(row, command) for row in rows),
    )


def export_document(rows: Sequence[CellRow], command: Command) -> RunsExportDocument:
    """Make the document of `mnfpn runs export`."""
    return RunsExportDocument(settings=None, model=None, runs=tuple(stored_run(row, command) for row in rows))


def show_document(row: CellRow, results: Sequence[Result], command: Command) -> RunsShowDocument:
    """Make the document of `mnfpn runs show`: a run, and everything that was measured of it, the oldest first."""
    return RunsShowDocument(
        settings=row.stored.cell.settings,
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
        node=result.node,
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

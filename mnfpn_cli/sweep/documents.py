"""The documents of `mnfpn runs`, and the runs of a store with the drift at which each was measured."""

from collections.abc import Callable, Mapping, Sequence
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
from mnfpn_cli.space.runs import Run, identities
from mnfpn_cli.store.change import Removed
from mnfpn_cli.store.rows import BaselineTiming, StoredResult, StoredRun, Sweep
from mnfpn_cli.sweep.drift import drifts_of


@dataclass(frozen=True)
class ListedRun:
    """A run of a store; ``drift``: that at which it was measured, None where no baseline run moved."""

    stored: StoredRun
    drift: float | None = None

    @property
    def result(self) -> StoredResult | None:
        """Its newest result; None where it is pending, though it may have an older one."""
        return self.stored.result if self.stored.status != "pending" else None

    @property
    def latency(self) -> Latency | None:
        """Its time; None where it was not measured."""
        return Latency(self.result.samples) if self.result and self.stored.measured else None


def listed_runs(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> list[ListedRun]:
    """Return runs with their drift, the newest result first, and those without a result last."""
    drifts = drifts_of(runs, baselines)
    listed = [ListedRun(run, drifts.get(run.key)) for run in runs]
    return sorted(listed, key=lambda run: run.result.finished if run.result else "", reverse=True)


def executed_run(stored: StoredRun) -> PlannedRun:
    """Return the record of a run, with the device and threads that it was measured on; unmeasured, as planned."""
    planned = planned_run(stored.planned)
    threads = stored.measured.run.threads if stored.measured else planned.threads
    return planned.model_copy(update={"device": stored.device, "threads": threads})


Command = Callable[[Run], str]
"""Return the command line that measures a run."""


def run_records(runs: Sequence[ListedRun], command: Command) -> tuple[StoredRunRecord, ...]:
    """Return the records of some runs of a store, each named as among the others."""
    named = identities([one.stored.planned.run for one in runs])
    return tuple(run_record(run, identity, command) for run, identity in zip(runs, named, strict=True))


def run_record(run: ListedRun, identity: Mapping[str, str], command: Command) -> StoredRunRecord:
    """Return the record of a run of a store; ``identity``: the settings that name it."""
    stored, result, latency = run.stored, run.result, run.latency
    return StoredRunRecord(
        **dict(executed_run(stored)),
        key=stored.key,
        status=stored.status,
        identity=dict(identity),
        size=str(stored.size),
        batch=stored.execution.batch,
        machine=stored.machine,
        worker=result.worker if result else None,
        latency_s=latency_record(latency) if latency else None,
        drift=run.drift,
        corrected_s=latency.median / run.drift if latency and run.drift else None,
        sweep=result.sweep if result else None,
        started=result.started if result else None,
        finished=result.finished if result else None,
        reason=result.reason if result else None,
        command=command(stored.planned.run),
    )


def list_document(store: str, runs: Sequence[ListedRun], sweeps: Sequence[Sweep], command: Command) -> RunsListDocument:
    """Make the document of `mnfpn runs list`: runs and sweeps in the order given."""
    return RunsListDocument(
        settings=None,
        model=None,
        store=store,
        sweeps=tuple(sweep.record for sweep in sweeps),
        runs=run_records(runs, command),
    )


def export_document(runs: Sequence[ListedRun], command: Command) -> RunsExportDocument:
    """Make the document of `mnfpn runs export`."""
    return RunsExportDocument(settings=None, model=None, runs=run_records(runs, command))


def show_document(run: ListedRun, results: Sequence[StoredResult], command: Command) -> RunsShowDocument:
    """Make the document of `mnfpn runs show`: a run and all of its results, the oldest first."""
    (record,) = run_records([run], command)
    return RunsShowDocument(
        settings=run.stored.settings,
        model=None,
        run=record,
        results=tuple(map(_result_record, results)),
    )


def _result_record(result: StoredResult) -> ResultRecord:
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

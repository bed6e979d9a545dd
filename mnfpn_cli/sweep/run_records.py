"""Select the runs of a store, and make their records and the documents of `mnfpn runs`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from mnfpn_cli.documents.records import PlannedRun
from mnfpn_cli.documents.runs import (
    RequestedRecord,
    ResultRecord,
    RunsExportDocument,
    RunsListDocument,
    RunsPruneDocument,
    RunsShowDocument,
    StoredRunRecord,
    TrainingRecord,
)
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.space.planned import planned_run
from mnfpn_cli.space.runs import identities
from mnfpn_cli.store.change import Removed
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredResult, StoredRun, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.store.trainings import StoredTraining
from mnfpn_cli.sweep.command_lines import measure_command
from mnfpn_cli.sweep.drift import drifts_of
from mnfpn_cli.sweep.objective import score_records


def select_runs(
    store: Store, status: str | None, sweep: int | None
) -> tuple[list[StoredRun], Sequence[BaselineTiming]]:
    """Return the runs of a status and a sweep, the newest first, and all times of baseline runs; None stands for all.

    Raises:
        UsageError: where the store has no such sweep.
        StoreError: where the store cannot be read.
    """
    known = [one.id for one in read_sweeps(store)] if sweep is not None else []
    if sweep is not None and sweep not in known:
        rule = f"must be a sweep of {store.name}: {', '.join(map(str, known)) or 'none'}"
        raise UsageError(Problem("`sweep`", rule, str(sweep)))
    return newest_first(read_runs(store, sweep, status)), read_baselines(store)  # type: ignore[arg-type]


def newest_first(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return runs with the newest result first, and those without a result last."""
    return sorted(runs, key=lambda run: result.finished if (result := _newest(run)) else "", reverse=True)


def _newest(run: StoredRun) -> StoredResult | None:
    """Return the newest result of a run; None for a pending run, even if it has an older result."""
    return run.result if run.status != "pending" else None


def executed_run(stored: StoredRun) -> PlannedRun:
    """Return the record of a run: with the device and threads that measured it, or the planned ones where none did."""
    planned = planned_run(stored.planned)
    threads = stored.measured.run.threads if stored.measured else planned.threads
    return planned.model_copy(update={"device": stored.device, "threads": threads})


def run_records(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> tuple[StoredRunRecord, ...]:
    """Return the records of runs of a store, each with its drift, and the settings in which these runs differ."""
    named, drifts = identities([one.planned.run for one in runs]), drifts_of(runs, baselines)
    return tuple(run_record(run, drifts.get(run.key), identity) for run, identity in zip(runs, named, strict=True))


def run_record(run: StoredRun, drift: float | None, identity: Mapping[str, str]) -> StoredRunRecord:
    """Return the record of a run of a store.

    Args:
        run: the run.
        drift: the drift of its worker when it was measured; None where no baseline run moved.
        identity: the settings that name it.
    """
    result = _newest(run)
    latency = Latency(result.samples) if result and run.measured else None
    drift = None if drift == 1 else drift
    return StoredRunRecord(
        **dict(executed_run(run)),
        key=run.key,
        status=run.status,
        identity=dict(identity),
        size=str(run.size),
        batch=run.execution.batch,
        machine=run.machine,
        worker=result.worker if result else None,
        latency_s=latency_record(latency) if latency else None,
        drift=drift,
        corrected_s=latency.median / drift if latency and drift else None,
        scores=score_records(run),
        sweep=result.sweep if result else None,
        started=result.started if result else None,
        finished=result.finished if result else None,
        reason=result.reason if result else None,
        command=measure_command(run.planned.run),
    )


def list_document(
    store: str,
    runs: Sequence[StoredRun],
    limit: int | None,
    sweeps: Sequence[Sweep],
    baselines: Sequence[BaselineTiming],
) -> RunsListDocument:
    """Make the document of `mnfpn runs list`: in the order given, with at most ``limit`` runs."""
    return RunsListDocument(
        settings=None,
        model=None,
        store=store,
        sweeps=tuple(sweep.record for sweep in sweeps),
        total=len(runs),
        runs=run_records(runs[:limit], baselines),
    )


def runs_export_document(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> RunsExportDocument:
    """Make the document of `mnfpn runs export`."""
    return RunsExportDocument(settings=None, model=None, runs=run_records(runs, baselines))


def show_document(
    run: StoredRun,
    results: Sequence[StoredResult],
    baselines: Sequence[BaselineTiming],
    trainings: Sequence[StoredTraining],
) -> RunsShowDocument:
    """Make the document of `mnfpn runs show`: a run, all of its results, and trainings of its network."""
    (record,) = run_records([run], baselines)
    execution = run.execution
    return RunsShowDocument(
        settings=run.settings,
        model=None,
        run=record,
        requested=RequestedRecord(device=execution.device, threads=execution.threads, machine=run.target_machine),
        results=tuple(map(_result_record, results)),
        trainings=tuple(
            TrainingRecord(**{name: getattr(one, name) for name in TrainingRecord.model_fields}) for one in trainings
        ),
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

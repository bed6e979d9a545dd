"""Make the documents of `mnfpn report`: the tables, and the page with its additional data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.report import FrontierRecord, PageDocument, ReportDocument, ReportedRun
from mnfpn_cli.documents.runs import StoredRunRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.space.frontier import pareto
from mnfpn_cli.space.runs import differing_values, names_of, shared_settings
from mnfpn_cli.store.filters import choose_runs, run_filters
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep.drift import moved_baselines
from mnfpn_cli.sweep.frontier import TimingGroup, frontiers, scored_runs
from mnfpn_cli.sweep.objective import Objective, choose_objective
from mnfpn_cli.sweep.run_records import run_records

if TYPE_CHECKING:
    from mnfpn_cli.sweep.predictions import Predicted, Predictions


def read_report(
    store: str, device: str | None, sweep: int | None, metric: str | None, output: str | None, predict: bool
) -> tuple[ReportDocument, PageDocument | None]:
    """Make the report of a store.

    Args:
        store: the file or URL.
        device: include only runs of this device; None for all.
        sweep: include only runs of this sweep; None for all.
        metric: what runs are compared by; None for the metric that most runs have.
        output: the file that is written in place of the tables; None for none.
        predict: whether to predict the pending runs from those that are measured, and to include them.

    Returns:
        The report; where a file is written, also what its page shows besides.

    Raises:
        UsageError: where the store has no such sweep, no run of the device, or no run with a score of the metric.
        MnfpnError: where the store cannot be read, or has too few measured runs to predict others; or where SciPy is
            not installed.
    """
    with open_store(store) as opened:
        sweeps = _chosen(read_sweeps(opened), sweep)
        runs = choose_runs(read_runs(opened, sweep), run_filters(device, None, None))
        baselines = read_baselines(opened)
        name = Path(str(opened.engine.url.database)).name  # without folder, user or server
        known = read_runs(opened, status="done") if predict else []
    predicted: Mapping[str, Predicted] = {}
    predictions: Predictions | None = None
    if predict:
        from mnfpn_cli.sweep.predictions import predict_stored  # imports numpy

        predicted, predictions = predict_stored(runs, known, baselines)
    objective = choose_objective(runs, metric, predicted)
    report = report_document(runs, baselines, objective, output, predicted, predictions)
    return report, page_document(report, name, runs, sweeps) if output else None


def _chosen(known: Sequence[Sweep], sweep: int | None) -> Sequence[Sweep]:
    chosen = [one for one in known if sweep in (None, one.id)]
    if sweep is not None and not chosen:
        numbers = ", ".join(str(one.id) for one in known) or "none"
        raise UsageError(Problem("`sweep`", f"must be the number of a sweep in the store ({numbers})", str(sweep)))
    return chosen


def report_document(
    runs: Sequence[StoredRun],
    baselines: Sequence[BaselineTiming],
    objective: Objective,
    output: str | None = None,
    predicted: "Mapping[str, Predicted]" = MappingProxyType({}),
    predictions: "Predictions | None" = None,
) -> ReportDocument:
    """Make the document of a report of some runs, in the order given.

    Args:
        runs: the runs.
        baselines: the store's baseline runs; those of sweeps that measured none of ``runs`` are ignored.
        objective: what the frontiers are of, besides latency.
        output: the file that is written in place of the tables.
        predicted: the predicted times of pending runs, by key.
        predictions: the same, with their models and warnings.
    """
    own = {one.result.sweep for one in runs if one.result}
    baselines = [one for one in baselines if one.sweep in own]
    found = frontiers(scored_runs(runs, baselines, objective))
    on_frontier = {one.run.key for best in found.values() for one in best}
    records = [_placed(one, predicted.get(one.key)) for one in run_records(runs, baselines)]
    names = names_of([record.identity for record in records])
    reported = tuple(
        ReportedRun(
            **dict(record),
            name=name,
            score=objective.scores.get(record.key),
            on_frontier=record.key in on_frontier,
            prediction=predicted[record.key].record if record.key in predicted else None,
        )
        for record, name in zip(records, names, strict=True)
    )
    by_key = {one.key: one for one in reported}
    return ReportDocument(
        settings=None,
        model=None,
        metric=objective.metric,
        objective=objective.words,
        warnings=(*objective.warnings, *(predictions.warnings if predictions else ())),
        counts=StatusCounts(**Counter[str](one.status for one in runs)),
        frontier=tuple(
            FrontierRecord(
                **group._asdict(),
                runs=tuple(by_key[one.run.key] for one in best),
                predicted=_predicted_frontier(group, reported),
            )
            for group, best in found.items()
        ),
        runs=reported,
        models=predictions.models if predictions else (),
        baseline_moved=tuple(moved_baselines(baselines)),
        output=output,
    )


def _placed(record: StoredRunRecord, predicted: "Predicted | None") -> StoredRunRecord:
    """Return the record of a run; a predicted one is of the machine and the device that its prediction is of."""
    if predicted is None:
        return record
    kind = predicted.kind
    return record.model_copy(update={"machine": kind.machine, "device": kind.device})


def _predicted_frontier(group: TimingGroup, runs: Sequence[ReportedRun]) -> tuple[ReportedRun, ...]:
    """Return the predicted runs of a group that no other run beats, measured or predicted."""
    compared = [
        (one, one.time_s, one.score.value)
        for one in runs
        if one.time_s and one.score and TimingGroup(one.machine, one.device, one.batch, one.train) == group
    ]
    best = pareto(compared, lambda one: one[1], lambda one: one[2])
    return tuple(one for one, _, _ in best if one.is_predicted)


def page_document(
    report: ReportDocument, store: str, runs: Sequence[StoredRun], sweeps: Sequence[Sweep]
) -> PageDocument:
    """Make the document of a report's page.

    Args:
        report: the report.
        store: the name of the store on the page.
        runs: the runs of the report.
        sweeps: their sweeps.
    """
    planned = [run.planned.run for run in runs]
    return PageDocument(
        **dict(report),
        store=store,
        sweeps=tuple(sweep.record for sweep in sweeps),
        differences={key: tuple(dict.fromkeys(words)) for key, words in differing_values(planned).items()},
        common=shared_settings(planned),
        measurements={run.key: run.measured for run in runs if run.measured},
    )

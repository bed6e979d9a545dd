"""Make the documents of `mnfpn report`: the tables, and the page with its additional data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import LatencyModelRecord, StatusCounts
from mnfpn_cli.documents.report import FrontierRecord, PageDocument, ReportDocument, ReportedRun
from mnfpn_cli.documents.runs import StoredRunRecord
from mnfpn_cli.space.frontier import pareto
from mnfpn_cli.space.runs import differing_values, names_of, shared_settings
from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
from mnfpn_cli.sweep.drift import moved_baselines
from mnfpn_cli.sweep.frontier import TimingGroup, candidates, frontiers
from mnfpn_cli.sweep.objective import Objective
from mnfpn_cli.sweep.run_records import Command, run_records

if TYPE_CHECKING:
    from mnfpn_cli.sweep.predictions import Predicted


def report_document(
    runs: Sequence[StoredRun],
    baselines: Sequence[BaselineTiming],
    objective: Objective,
    command: Command,
    output: str | None = None,
    predicted: "Mapping[str, Predicted]" = MappingProxyType({}),
    models: Sequence[LatencyModelRecord] = (),
    warnings: Sequence[str] = (),
) -> ReportDocument:
    """Make the document of a report of some runs, in the order given.

    Args:
        runs: the runs.
        baselines: the store's baseline runs; those of sweeps that measured none of ``runs`` are ignored.
        objective: what the frontiers are of, besides latency.
        command: returns the command line that measures a run.
        output: the file that is written in place of the tables.
        predicted: the predicted times of pending runs, by key.
        models: the models that predicted them.
        warnings: reasons to trust these less.
    """
    own = {one.result.sweep for one in runs if one.result}
    baselines = [one for one in baselines if one.sweep in own]
    found = frontiers(candidates(runs, baselines, objective))
    on_frontier = {one.run.key for best in found.values() for one in best}
    records = [_placed(one, predicted.get(one.key)) for one in run_records(runs, baselines, command)]
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
        warnings=(*objective.warnings, *warnings),
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
        models=tuple(models),
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

"""`mnfpn runs` as tables: the runs of a store, a run in full, and what was removed or merged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnfpn_cli.documents.base import KEY_DIGITS
from mnfpn_cli.report.terminal.bench import allocator_row, environment_table
from mnfpn_cli.report.terminal.run_tables import (
    RunNames,
    columns_of,
    dtype_of_all,
    runs_report,
    time_columns,
    time_notes,
)
from mnfpn_cli.report.terminal.tables import (
    Report,
    command,
    note,
    pairs,
    recorded_warning,
    table,
)
from mnfpn_cli.report.units import count, half_width_text, scaled, score, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.overrides import non_defaults
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.bench import RunRecord
    from mnfpn_cli.documents.records import PlannedCost, PlannedRun, ScoreRecord
    from mnfpn_cli.documents.runs import (
        RequestedRecord,
        ResultRecord,
        RunsListDocument,
        RunsMergeDocument,
        RunsPruneDocument,
        RunsScoreDocument,
        RunsShowDocument,
        StoredRunRecord,
        TrainingRecord,
    )
    from mnfpn_cli.documents.sweep import SweepRecord
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.settings.network import NetworkSettings

MOST_SCORES = 50
"""The most scores of a table; JSON has all."""

MOST_SWEEPS = 5
"""The most sweeps of a table; JSON has all."""


def list_report(document: RunsListDocument, limit: int | None = None) -> Report:
    """The sweeps of a store, newest first, with their commands; its runs; and the reasons of failures.

    ``limit``: the most runs; None for all of the document.
    """
    listed, store = document.runs[:limit], f"'{document.store}'"
    left = document.total - len(listed)
    return [
        *_sweeps_table(document.sweeps),
        *(_runs_table(store, listed, document.total) if listed else [note(f"No such runs in {store}.")]),
        *([note(f"{count(left)} more: see them with `limit` {document.total} or `json`", "dim")] if left else []),
        *_failures(listed),
    ]


def _sweeps_table(sweeps: Sequence[SweepRecord]) -> Report:
    if not sweeps:
        return []
    made = table("Sweeps", ">#", "Started (UTC)", ">Runs", ">Done", ">Failed", ">Pending")
    newest = sweeps[:MOST_SWEEPS]
    for sweep in newest:
        numbers = [sweep.counts.done, sweep.counts.failed, sweep.counts.pending]
        made.add_row(str(sweep.id), _moment(sweep.started), *map(count, (sum(numbers), *numbers)))
    commands = [command(f"{sweep.id}: {sweep.command}") for sweep in newest if sweep.command]
    older = len(sweeps) - MOST_SWEEPS
    return [made, *commands, *([note(f"{count(older)} older: `json`", "dim")] if older > 0 else [])]


def _runs_table(store: str, runs: Sequence[StoredRunRecord], total: int) -> Report:
    """A row for each run; ``total`` counts those beyond the limit too."""
    any_training = any(run.train for run in runs)
    execution = {
        "Status": [str(run.status) for run in runs],
        "Size": [run.size for run in runs],
        "Batch": [str(run.batch) for run in runs],
        "Runtime": [run.runtime for run in runs],
        **dtype_of_all([run.dtype for run in runs]),
        "Device": [run.device for run in runs],
        "Passes": [_passes(run) if any_training else "" for run in runs],
        "Worker": [run.worker or "" for run in runs],
    }
    metrics = sorted({metric for run in runs for metric in run.scores})
    scores = {
        f">{metric}": [score(run.scores[metric]) if metric in run.scores else "" for run in runs] for metric in metrics
    }
    figures = {**scores, **time_columns(runs), "Ended (UTC)": [_moment(run.finished or "") for run in runs]}
    keys = {"Key": [run.key[:KEY_DIGITS] for run in runs]}
    names = RunNames(columns_of([run.identity for run in runs]), execution)
    made = runs_report(f"{counted(total, 'run')} in {store}", names, figures, keys, fold=True)
    return [*made, *time_notes(runs)]


def _failures(runs: Sequence[StoredRunRecord]) -> list[Table]:
    failed = [run for run in runs if run.status == "failed"]
    if not failed:
        return []
    made = table("Failed", "Key", "Why")
    for run in failed:
        made.add_row(run.key[:KEY_DIGITS], note(" / ".join((run.reason or "").splitlines())))
    return [made]


def _moment(iso: str) -> str:
    """A time in ISO 8601 without year and seconds, for a narrow terminal: ``11-21 17:20``."""
    return iso[5:16].replace("T", " ")


def _passes(run: PlannedRun) -> str:
    return "training" if run.train else "inference"


def setting_text(value: object) -> str:
    """A value of a setting: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def show_report(document: RunsShowDocument) -> Report:
    """A run in full, with its cost, its results, the machine, and the command that measures it again."""
    run, newest = document.run, _newest(document)
    return [
        _what(run, document.requested),
        _settings(run.settings),
        _cost(run.cost),
        *_scores(run.scores),
        *_trainings(document.trainings),
        *_results(document.results),
        *(_newest_table(run, newest.run) if newest and newest.run else []),
        *([environment_table(newest.environment)] if newest and newest.environment else []),
        *([note(f"Failed: {run.reason}", "red")] if run.status == "failed" else []),
        *map(recorded_warning, (newest.warnings or ()) if newest else ()),
        command(f"Again: {run.command}"),
    ]


def _newest(document: RunsShowDocument) -> ResultRecord | None:
    """The newest measurement; None where the run is pending or failed, though it may have an older one."""
    done = [one for one in document.results if one.status == "done"]
    return done[-1] if done and document.run.status == "done" else None


def _what(run: StoredRunRecord, requested: RequestedRecord) -> Table:
    also = f", {requested.device} was asked for" if requested.device != run.device else ""
    size = run.input
    rows = [
        ("status", run.status),
        ("input", f"{size.batch}×{size.channels}×{size.height}×{size.width}"),
        ("runtime", run.runtime),
        ("device", f"{run.device}{also}"),
        ("dtype", run.dtype),
        ("threads", _threads(run.threads, requested.threads)),
        *allocator_row(run.allocator),
        ("passes", _passes(run)),
        ("for", requested.machine),
    ]
    return pairs(f"Run {run.key}", rows)


def _threads(used: int | None, requested: int | None) -> str:
    """The threads that a run was measured with, and whether torch chose them."""
    if requested is not None:
        return str(used)
    return "torch's choice" if used is None else f"{used}, torch's choice"


def _settings(settings: NetworkSettings) -> Table:
    rows = [
        (key, _stages(value) if key == "stages" else setting_text(value))
        for key, value in non_defaults(settings).items()
    ]
    return pairs("Settings that are not the defaults", rows or [("none", "")])


def _stages(stages: Sequence[Mapping[str, object]]) -> str:
    """Stages as the parameter ``stages`` takes them: ``1,16,1,1 6,24,2,2``."""
    return " ".join(",".join(str(value) for value in stage.values()) for stage in stages)


def _cost(cost: PlannedCost) -> Table:
    return pairs(
        "Cost",
        [
            ("parameters", count(cost.parameters)),
            ("MACs of one image", f"{count(cost.macs)} ({scaled(cost.macs)})"),
            ("weights and activations", size_in_bytes(cost.planned_memory_bytes)),
            ("levels", count(cost.levels)),
        ],
    )


def _scores(scores: Mapping[str, ScoreRecord]) -> list[Table]:
    if not scores:
        return []
    made = table("Scores", "Metric", ">Score", "Source", "Stored (UTC)")
    for one in scores.values():
        made.add_row(note(one.metric), score(one), note(one.source), (one.date or "")[:19].replace("T", " "))
    return [made]


MOST_LINES = 12
"""The lines of the end of a log that are shown; JSON has all that the store keeps."""


def _trainings(trainings: Sequence[TrainingRecord]) -> Report:
    """The trainings of the network, and the end of what the newest of them printed."""
    if not trainings:
        return []
    made = table("Trainings", "Finished (UTC)", "Status", "Command", "Why")
    for one in trainings:
        made.add_row((one.finished or "")[:19].replace("T", " "), one.status, note(one.command), note(one.reason or ""))
    ended = [one for one in trainings if one.log]
    lines = (ended[-1].log or "").strip().splitlines()[-MOST_LINES:] if ended else []
    return [
        made,
        *([note("The end of what it printed:", "dim")] if lines else []),
        *(note(f"  {one}") for one in lines),
    ]


def _results(results: Sequence[ResultRecord]) -> list[Table]:
    if not results:
        return []
    made = table("Measured", "Finished (UTC)", ">Sweep", "Worker", "Status", ">Median", ">±95 %", ">Passes")
    for one in results:
        when = one.finished[:19].replace("T", " ")
        made.add_row(when, str(one.sweep), note(one.worker), one.status, *_figures(one))
    return [made]


def _figures(result: ResultRecord) -> tuple[str, str, str]:
    if not result.run:
        return "", "", ""
    latency = result.run.latency_s
    return seconds(latency.median), half_width_text(latency.median, latency.ci95), count(len(latency.samples))


def _newest_table(run: StoredRunRecord, measured: RunRecord) -> list[Table]:
    latency, memory = measured.latency_s, measured.peak_memory_bytes
    rows = [("median", seconds(latency.median))]
    rows += [("95 % interval of it", seconds_range(*latency.ci95))] if latency.ci95 else []
    rows += [("corrected for the machine's drift", _corrected(run))] if run.drift else []
    rows += [
        ("quartiles", seconds_range(*latency.quartiles)),
        ("fastest", seconds(latency.min)),
        ("outliers", count(len(latency.outliers))),
        ("images per second", f"{run.batch / latency.median:.4g}"),
        ("peak memory", size_in_bytes(memory) if memory else "not known"),
        ("ended by", measured.ended_by),
    ]
    return [pairs("Newest result", rows)]


def _corrected(run: StoredRunRecord) -> str:
    return f"{seconds(run.corrected_s or 0)}: the baseline run took {run.drift:.2f} × its first time"


def removed_report(document: RunsPruneDocument) -> Report:
    """The runs and results that were removed, or would be, and the runs that stay."""
    verb = "Would remove" if document.dry_run else "Removed"
    report: Report = [note(f"{verb}: {counted(document.runs, 'run')}, {counted(document.results, 'result')}.")]
    if document.restored:
        again = "was to be measured again stays" if document.restored == 1 else "were to be measured again stay"
        report.append(note(f"{counted(document.restored, 'run')} that {again} as measured before."))
    if document.busy:
        stay = "stays" if document.busy == 1 else "stay"
        report.append(note(f"{counted(document.busy, 'run')} being measured right now {stay}."))
    return report


def scored_report(document: RunsScoreDocument) -> Report:
    """The scores that were stored, each with the number of runs that have it now."""
    made = table("Scores", "Network", ">Size", "Dtype", "Metric", ">Score", ">Runs")
    for one in document.scores[:MOST_SCORES]:
        made.add_row(note(one.name), one.size, one.dtype, note(one.metric), f"{one.value:.4g}", count(one.runs))
    more = len(document.scores) - MOST_SCORES
    stored = f"Stored: {counted(len(document.scores), 'score')} in '{document.store}'."
    return [made, *([note(f"{count(more)} more: `json` has them all", "dim")] if more > 0 else []), note(stored)]


def merged_report(document: RunsMergeDocument) -> Report:
    """How many results were copied from one store into another."""
    copied = counted(document.results, "new result")
    return [note(f"Merged: {copied} from '{document.source}' into '{document.target}'.")]

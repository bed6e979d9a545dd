"""`mnfpn runs` as tables: the runs of a store, a run in full, and what was removed or merged.

Other tables of runs share `runs_report`: of frontiers, and of recommendations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnfpn_cli.documents.base import KEY_DIGITS
from mnfpn_cli.report.terminal.bench import environment_table, half_width
from mnfpn_cli.report.terminal.tables import (
    Forms,
    Phrases,
    Report,
    command,
    note,
    pairs,
    recorded_warning,
    table,
)
from mnfpn_cli.report.units import count, counted, scaled, seconds, seconds_range, size_in_bytes
from mnfpn_cli.settings.overrides import non_defaults

if TYPE_CHECKING:
    from mnfpn_cli.documents.bench import RunRecord
    from mnfpn_cli.documents.records import PlannedCost, PlannedRun
    from mnfpn_cli.documents.runs import (
        RequestedRecord,
        ResultRecord,
        RunsListDocument,
        RunsMergeDocument,
        RunsPruneDocument,
        RunsShowDocument,
        StoredRunRecord,
    )
    from mnfpn_cli.documents.sweep import SweepRecord
    from mnfpn_cli.report.terminal.tables import Cell, Table
    from mnfpn_cli.settings.network import NetworkSettings

Columns = Mapping[str, Sequence[str]]
"""The texts of each column, one for each row, by the name of the column; ``>`` before the name is for numbers."""


@dataclass(frozen=True)
class RunNames:
    """The columns that name the runs of a table.

    Attributes:
        settings: columns by the key of a setting, as ``pyramid.channels``; the key is empty for names of networks.
        execution: columns of their own wherever there is room for them, as ``Runtime``.
    """

    settings: Columns
    execution: Columns = field(default_factory=dict)

    @property
    def common(self) -> dict[str, str]:
        """The columns whose text is the same in all rows, and that text."""
        columns = {**self.settings, **self.execution}
        return {key: texts[0] for key, texts in columns.items() if len(set(texts)) == 1}

    def without(self, keys: Mapping[str, str]) -> RunNames:
        """The same without the columns of these keys."""
        groups = (self.settings, self.execution)
        return RunNames(*({key: texts for key, texts in group.items() if key not in keys} for group in groups))


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Turn rows, which have the same keys, into columns."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def numbers_of(rows: Sequence[object]) -> Columns:
    """Return a column without a name that numbers rows from 1."""
    return {"": [str(index + 1) for index in range(len(rows))]}


def runs_report(
    title: str,
    names: RunNames,
    figures: Columns,
    first: Columns | None = None,
    section: int | None = None,
    *,
    fold: bool = False,
) -> Report:
    """Make a table with a row for each run, and a line below it with what all runs have in common.

    Args:
        title: the title.
        names: the columns that name the runs; those that are the same for all runs go to the line below the table.
        figures: the columns after the names; one without any text is left out.
        first: a column before the names, which each part of a table has that a screen shows in parts.
        section: the index of the row with a line above it.
        fold: whether names may be broken into lines on a narrow screen; the table is shown in parts otherwise.
    """
    common, filled = names.common, {name: texts for name, texts in figures.items() if any(texts)}
    made = _table_of_runs(title, names.without(common), filled, first or {}, section, fold=fold)
    text = ", ".join(f"{key.removeprefix('>').lower()} {text}".lstrip() for key, text in common.items() if text)
    who = "The run" if max(map(len, figures.values())) == 1 else "All of these"
    return [made, *([note(f"{who}: {text}.")] if text else [])]


def _table_of_runs(
    title: str, names: RunNames, figures: Columns, first: Columns, section: int | None, *, fold: bool
) -> Forms:
    """Make the forms of a table of runs.

    The widest has all settings in one column; the next a column for each setting; with ``fold``, the last has one
    column for all names, broken into lines.
    """
    settings, execution = names.settings, names.execution
    phrases = {key: [_phrase(key, text) for text in texts] for key, texts in {**settings, **execution}.items()}
    together = {"Network": [", ".join(row) for row in _rows({key: phrases[key] for key in settings})]}
    apart = {_heading(key, texts): texts for key, texts in settings.items()}
    if len(apart) < len(settings):  # two keys that end in the same word
        apart = dict(settings)
    forms = [
        _table(title, [_cells(first), _cells(columns), _cells(execution), _cells(figures)], section)
        for columns in ((together if settings else {}), apart)
    ]
    if fold:
        folded = {"Run": [Phrases(row) for row in _rows(phrases)]} if phrases else {}
        forms.append(_table(title, [_cells(first), folded, _cells(figures)], section))
    if settings:
        forms[0].columns[len(first)].no_wrap = True
    return Forms(tuple(forms))


def _cells(columns: Columns) -> Mapping[str, Sequence[Cell]]:
    return {name: list(map(note, texts)) for name, texts in columns.items()}


def _table(title: str, groups: Sequence[Mapping[str, Sequence[Cell]]], section: int | None) -> Table:
    columns = {name: cells for group in groups for name, cells in group.items()}
    made = table(title, *columns)
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        if index == section:
            made.add_section()
        made.add_row(*row)
    return made


def _rows(columns: Columns) -> list[tuple[str, ...]]:
    rows = zip(*columns.values(), strict=True)
    return [tuple(word for word in words if word) or ("",) for words in rows]  # a pending run has no worker


def _phrase(key: str, text: str) -> str:
    """A value in a sentence: with its name if it is a setting or a number, as ``channels 64``; else alone."""
    name = key.removeprefix(">").rpartition(".")[2]
    return f"{name.lower()} {text}".lstrip() if name.islower() or text.isdigit() else text


def _heading(key: str, texts: Sequence[str]) -> str:
    """The name of the column of a setting, with ``>`` before it for numbers."""
    name = key.rpartition(".")[2] or "Network"
    return f">{name}" if all(text[:1].isdigit() for text in texts) else name


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
        *([note(f"{count(left)} more: `limit` {document.total}, or `json`", "dim")] if left else []),
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
        "Device": [run.device for run in runs],
        "Passes": [_passes(run) if any_training else "" for run in runs],
        "Worker": [run.worker or "" for run in runs],
    }
    latencies = [run.latency_s for run in runs]
    figures = {
        ">Median": [seconds(one.median) if one else "" for one in latencies],
        ">±95 %": [half_width(one.median, one.ci95) if one else "" for one in latencies],
        "Ended (UTC)": [_moment(run.finished or "") for run in runs],
    }
    keys = {"Key": [run.key[:KEY_DIGITS] for run in runs]}
    names = RunNames(columns_of([run.identity for run in runs]), execution)
    return runs_report(f"{counted(total, 'run')} in {store}", names, figures, keys, fold=True)


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
    capacity = cost.capacity
    return pairs(
        "Cost and capacity",
        [
            ("parameters", count(cost.parameters)),
            ("MACs of one image", f"{count(cost.macs)} ({scaled(cost.macs)})"),
            ("weights and activations", size_in_bytes(cost.planned_memory_bytes)),
            ("channels of the tapped maps", count(capacity.backbone_channels)),
            ("channels of a level", count(capacity.channels)),
            ("levels", count(capacity.levels)),
            ("cells of the finest level", count(capacity.cells)),
        ],
    )


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
    return seconds(latency.median), half_width(latency.median, latency.ci95), count(len(latency.samples))


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
    return f"{seconds(run.corrected_s or 0)}: the baseline took {run.drift:.2f} × its first time"


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


def merged_report(document: RunsMergeDocument) -> Report:
    """How many results were copied from one store into another."""
    copied = counted(document.results, "new result")
    return [note(f"Merged: {copied} from '{document.source}' into '{document.target}'.")]

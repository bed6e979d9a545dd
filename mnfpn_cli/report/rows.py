"""The rows of a document, an item of its command's table each, in base units; and their data frame of pandas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel

from mnfpn_cli.documents.audit import AuditDocument, Finding, SourceLine
from mnfpn_cli.documents.base import Document, Record
from mnfpn_cli.documents.bench import BenchDocument, NotRunRecord, RunRecord
from mnfpn_cli.documents.compare import CompareDocument
from mnfpn_cli.documents.detect import DetectDocument, DetectedBox
from mnfpn_cli.documents.export import ExportDocument
from mnfpn_cli.documents.records import PlannedCost, PredictionRecord, ScoreRecord
from mnfpn_cli.documents.report import RecommendDocument, ReportDocument, ReportedRun
from mnfpn_cli.documents.runs import (
    ResultRecord,
    RunsExportDocument,
    RunsListDocument,
    RunsScoreDocument,
    RunsShowDocument,
    StoredRunRecord,
)
from mnfpn_cli.documents.runtimes import AbilityRecord, RuntimeRecord, RuntimesDocument
from mnfpn_cli.documents.settings import PresetsDocument
from mnfpn_cli.documents.shapes import LevelMap, ObservedMaps, PlannedMaps, ShapesDocument
from mnfpn_cli.documents.summary import SummaryDocument
from mnfpn_cli.documents.sweep import MeasuredDocument, PlannedDocument, PlannedSpaceRun
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.terminal.bench import postprocess_of
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import flatten

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pandas import DataFrame

FlatValue = str | int | float | bool | tuple[object, ...] | None
FlatRow = dict[str, FlatValue]
"""An item as a row of a table, by the names of columns; nested fields have dotted names."""

SAMPLES = "latency_s.samples"
TIMES = ("started", "finished")

FIGURES = ("median", "ci95_low", "ci95_high", "iqr", "min", "mad", "p90", "p99")
"""The figures of the latency of a stored run, each in a column of its own."""

INTERVALS = ("ci95", "ratio_ci95", "quartiles")
"""Pairs of bounds, which have a column each."""


def flat(record: BaseModel, without: Collection[str] = ()) -> FlatRow:
    """Return the fields of a record by dotted name, without some of them.

    An interval has two columns, a list of numbers or words is one value, and any other list is one, as JSON.
    """
    row: FlatRow = {}
    for name, value in record:
        if name in without:
            continue
        if name in INTERVALS:
            row[f"{name}_low"], row[f"{name}_high"] = value or (None, None)
        else:
            row |= _columns_of(name, value)
    return row


def _columns_of(name: str, value: object) -> FlatRow:
    if isinstance(value, BaseModel):
        inner = _settings(value) if isinstance(value, NetworkSettings) else flat(value)
        return {f"{name}.{key}": one for key, one in inner.items()}
    if isinstance(value, dict):
        return {f"{name}.{key}": _value(one) for key, one in value.items()}
    return {name: _value(value)}


def _settings(settings: NetworkSettings) -> FlatRow:
    return {key: _value(value) for key, value in flatten(settings).items()}


def _value(value: object) -> FlatValue:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple) and not any(isinstance(one, BaseModel) for one in value):
        return value
    return json.dumps(value, default=lambda record: record.model_dump(mode="json"))


def stored_rows(runs: Sequence[StoredRunRecord]) -> tuple[list[str], list[FlatRow]]:
    """Return the names of the columns of a store's runs, in their order, and a row for each run.

    A metric has one column, as ``scores.map``, with the values alone.
    """
    scored = ({f"scores.{metric}": one.value for metric, one in run.scores.items()} for run in runs)
    rows = [{**flat(run, ("scores",)), **scores} for run, scores in zip(runs, scored, strict=True)]
    metrics = sorted({f"scores.{metric}" for run in runs for metric in run.scores})
    keys = (key for row in rows for key, value in row.items() if key.startswith("settings.") and value is not None)
    settings = dict.fromkeys(keys)
    first, second, *others = stored_columns()
    return [first, second, *settings, *metrics, *others], rows


def stored_columns() -> list[str]:
    """Return the names of the columns that every store's runs have: all but those of settings."""
    latency = [f"latency_s.{name}" for name in (*FIGURES, "samples")]
    cost = [f"cost.{name}" for name in PlannedCost.model_fields]
    return [
        *("key", "status"),
        *("size", "batch", "runtime", "device", "dtype", "threads", "train", "allocator", "machine", "worker"),
        *latency,
        *("drift", "corrected_s"),
        *cost,
        "sweep",
        *TIMES,
        *("reason", "command"),
    ]


def reported_columns() -> list[str]:
    """Return the names of the columns that the runs of a report have besides."""
    records: dict[str, type[Record]] = {"score": ScoreRecord, "prediction": PredictionRecord}
    own = [name for name in ReportedRun.model_fields if name not in StoredRunRecord.model_fields]
    return [
        column
        for name in own
        for column in ([f"{name}.{key}" for key in records[name].model_fields] if name in records else [name])
    ]


def rows_of(document: Document) -> tuple[list[str], list[FlatRow]]:
    """Return the names of the columns of a document's rows, in their order, and its rows."""
    match document:
        case RunsListDocument() | RunsExportDocument():
            return stored_rows(document.runs)
        case ReportDocument():
            columns, rows = stored_rows(document.runs)
            return [*columns, *reported_columns()], rows
        case AuditDocument():
            own = [name for name in Finding.model_fields if name != "location"]
            columns = [*own, *(f"location.{name}" for name in SourceLine.model_fields)]
            return columns, [flat(one) for one in document.findings]
        case RunsShowDocument():
            large = ("profile", "warnings", "environment")
            fields = [name for name in ResultRecord.model_fields if name not in large]
            return _in_order((flat(one, large) for one in document.results), fields)
        case PlannedDocument():
            fields = [name for name in PlannedSpaceRun.model_fields if name != "identity"]
            return _in_order((flat(one, ("identity",)) for one in document.sample), fields)
        case DetectDocument():
            fields = ["file", *DetectedBox.model_fields]
            return _in_order(({"file": one.file, **flat(box)} for one in document.images for box in one.boxes), fields)
        case RuntimesDocument():
            apart = ("abilities", "installs")
            fields = [*(name for name in RuntimeRecord.model_fields if name not in apart), *AbilityRecord.model_fields]
            abilities = ({**flat(one, apart), **flat(each)} for one in document.runtimes for each in one.abilities)
            return _in_order(abilities, fields)
        case _:
            return _in_order(_rows(document))


def _rows(document: Document) -> Iterator[FlatRow]:
    match document:
        case ShapesDocument():
            for maps in document.results:
                yield from _observed(maps) if isinstance(maps, ObservedMaps) else _planned(maps)
        case SummaryDocument():
            yield from (flat(row) for row in document.layers if row.depth)
        case BenchDocument():
            yield from (_run(document, run) for run in document.all_runs)
        case CompareDocument():
            yield from _compared(document)
        case ExportDocument():
            for check in document.checks:
                yield from ({**_columns_of("input", check.input), **flat(output)} for output in check.outputs)
        case RunsScoreDocument():
            yield from map(flat, document.scores)
        case PresetsDocument():
            yield from map(flat, document.presets)
        case MeasuredDocument():
            yield from map(flat, document.sweeps)
        case RecommendDocument():
            for found in document.recommendations:
                where = flat(found, ("picks", "step", "fastest"))
                picks = [*(("pick", one) for one in found.picks), *([("step", found.step)] if found.step else [])]
                yield from ({**where, "choice": choice, **flat(one, ("identity",))} for choice, one in picks)
        case _:
            yield flat(document, Document.model_fields)


def _planned(maps: PlannedMaps) -> Iterator[FlatRow]:
    """A row for each level, with its anchors in a detector, or for each map that a head without levels takes."""
    taken = maps.head.maps if maps.head else ()
    anchors = {one.path: one.anchors for one in taken if one.anchors is not None}
    for item in maps.levels or taken:
        row = {**_columns_of("input", maps.input), **flat(item, ("anchors",))}
        yield {**row, "anchors": anchors[item.name]} if anchors and isinstance(item, LevelMap) else row


def _observed(maps: ObservedMaps) -> Iterator[FlatRow]:
    for output in maps.outputs:
        yield {"inputs": tuple(one.shape for one in maps.inputs), **flat(output)}


def _run(document: BenchDocument, run: RunRecord | NotRunRecord) -> FlatRow:
    """A run, with the postprocessing of its outputs where that was measured."""
    row, record = flat(run, ("position",)), postprocess_of(run, document)
    of_run = {} if record is None else flat(record, ("device", "batch", "input"))
    return row | {f"postprocess.{name}": value for name, value in of_run.items()}


def _compared(document: CompareDocument) -> Iterator[FlatRow]:
    """A row for each side of each run. Where there are several runs, what differs between them is in their names."""
    of_run = ("runtime", "dtype", "device", "threads", "input", "comparable", "max_difference")
    without = ("latency_s", *(of_run if len(document.runs) > 1 else ()))
    for run in document.runs:
        verdict = flat(run, ("name", "a", "b"))
        for name, side, times in (("A", document.a, run.a), ("B", document.b, run.b)):
            yield {"run": run.name, "side": name, **flat(side, without), **flat(times), **verdict}


def _in_order(rows: Iterable[FlatRow], fields: Iterable[str] = ()) -> tuple[list[str], list[FlatRow]]:
    """Return the columns of rows in their order; where there is no row, ``fields``."""
    found = list(rows)
    columns = list(dict.fromkeys(key for row in found for key in row)) or list(fields)
    return [name for name in columns if not _is_absent(name, columns, found)], found


def _is_absent(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, FlatValue]]) -> bool:
    """Whether a column is that of a record that only other rows have, where it has columns of its own."""
    nested = any(other.startswith(f"{name}.") for other in columns)
    return nested and all(row.get(name) is None for row in rows)


def frame_of(document: Document) -> DataFrame:
    """Return a data frame with a row for each item of a document; moments are times in UTC.

    Raises:
        MnfpnError: where pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        needs = "needs pandas, which is not installed: pip install 'mnfpn[pandas]'"
        raise MnfpnError(Problem("to_pandas()", needs)) from None
    columns, rows = rows_of(document)
    made = pandas.DataFrame([[row.get(name) for name in columns] for row in rows], columns=columns)
    for name in TIMES:
        if name in made:
            made[name] = pandas.to_datetime(made[name], utc=True, format="ISO8601")
    return made

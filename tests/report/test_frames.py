"""The rows of documents and their data frames: an item a row, in base units."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.accuracy.presets import presets_document
from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.documents.audit import AuditDocument
from mnfpn_cli.documents.base import Document
from mnfpn_cli.documents.export import ExportDocument
from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.records import PredictionRecord, ScoreRecord
from mnfpn_cli.documents.runs import RunsPruneDocument
from mnfpn_cli.documents.shapes import ShapesDocument
from mnfpn_cli.documents.summary import SummaryDocument
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.report.rows import FlatRow, rows_of
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import PlannedSpace
from mnfpn_cli.sweep.command_lines import after_sweep
from mnfpn_cli.sweep.report import report_document
from mnfpn_cli.sweep.run_records import list_document, newest_first, runs_export_document, show_document
from mnfpn_cli.sweep.start import Chosen, space_document
from mnfpn_cli.sweep.state import Swept, swept_document
from tests.bench.made import benchmark, key, missing, timed
from tests.conftest import Mnfpn
from tests.needs import needs
from tests.report.test_compare import FASTER, RESULT, changed
from tests.report.test_screens import SWEPT, Stored, recommended


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A store whose runs differ in all that runs of a usual sweep differ in."""
    return Stored(tmp_path_factory.mktemp("store"), SWEPT)


def rows(document: Document) -> list[FlatRow]:
    """The rows of a document, each with all columns."""
    columns, found = rows_of(document)
    assert len(set(columns)) == len(columns)
    return [{name: row.get(name) for name in columns} for row in found]


def column(document: Document, name: str) -> list[Any]:
    """The values of a column."""
    return [row[name] for row in rows(document)]


def printed(mnfpn: Mnfpn, kind: type[Document], *words: str) -> Any:
    """The document that a command prints."""
    return parse_document(mnfpn(*words, "--json").out.encode(), kind, "document")


def test_levels_of_each_size(mnfpn: Mnfpn) -> None:
    """With the input that they are for, and in bytes."""
    document = printed(mnfpn, ShapesDocument, "shapes", "--size", "64,96")
    assert column(document, "input.height") == [64] * 4 + [96] * 4
    assert column(document, "name") == ["p2", "p3", "p4", "p5"] * 2
    assert rows(document)[0] == {
        "input.batch": 1,
        "input.channels": 3,
        "input.height": 64,
        "input.width": 64,
        "height": 16,
        "width": 16,
        "name": "p2",
        "stride": 4,
        "channels": 256,
        "bytes": 256 * 16 * 16 * 4,
        "exact": True,
        "tap.height": 16,
        "tap.width": 16,
        "tap.path": "stages.1",
        "tap.channels": 24,
        "resized_from.height": 8,
        "resized_from.width": 8,
    }
    assert column(document, "resized_from.height") == [8, 4, 2, None, 12, 6, 3, None]


def test_maps_of_a_head_and_outputs_of_an_external_network(mnfpn: Mnfpn) -> None:
    """Where there are no levels."""
    head = printed(mnfpn, ShapesDocument, "shapes", "--preset", "mobilenetv2-classifier", "--size", "64")
    assert [(row["path"], row["channels"]) for row in rows(head)] == [("stages.6", 320)]
    words = ("shapes", "--model", "tests.audit.networks:PlainLists", "--size", "64")
    external = printed(mnfpn, ShapesDocument, *words)
    assert set(column(external, "inputs")) == {((1, 3, 64, 64),)}
    assert all(len(shape) == 4 for shape in column(external, "shape"))


def test_a_detector_has_the_anchors_of_each_level(mnfpn: Mnfpn) -> None:
    """One more column; other networks do not have it."""
    document = printed(mnfpn, ShapesDocument, "shapes", "--set", "head.kind=rpn", "--size", "64")
    columns, rows = rows_of(document)
    assert columns[-1] == "anchors"
    assert [(row["name"], row["anchors"]) for row in rows] == [("p2", 768), ("p3", 192), ("p4", 48), ("p5", 12)]


def test_layers_of_a_summary_and_findings_of_an_audit(mnfpn: Mnfpn) -> None:
    """The network itself is no layer. Without findings there are the columns alone."""
    summary = printed(mnfpn, SummaryDocument, "summary", "--size", "64", "--depth", "1", "--no-audit")
    assert column(summary, "path") == ["stem", "stages", "pyramid"]
    assert column(summary, "output_shape")[0] == (1, 32, 32, 32)
    words = ("audit", "--model", "tests.audit.networks:PlainLists", "--size", "64")
    (first, *_) = rows(printed(mnfpn, AuditDocument, *words))
    assert first["kind"] == "unregistered"
    assert isinstance(first["paths"], tuple)
    columns, none = rows_of(printed(mnfpn, AuditDocument, "audit", "--size", "64"))
    assert (columns, none) == (
        ["kind", "paths", "parameters", "message", "remedy", "location.file", "location.line"],
        [],
    )


def test_runs_of_a_bench() -> None:
    """In the order in which they were asked for, those without a measurement too."""
    samples = [0.1 + k / 1e5 for k in range(30)]
    result = benchmark(timed(samples), missing(key("cuda-graph"), "runs on CUDA alone"), timed(samples, key("fused")))
    document = bench_document(result, FromSettings(NetworkSettings()))
    assert column(document, "runtime") == ["eager", "cuda-graph", "fused"]
    assert column(document, "reason") == [None, "runs on CUDA alone", None]
    (first, *_) = rows(document)
    assert first["latency_s.median"] == document.runs[0].latency_s.median
    assert (first["latency_s.ci95_low"], first["latency_s.ci95_high"]) == document.runs[0].latency_s.ci95
    assert first["latency_s.samples"] == document.runs[0].latency_s.samples
    assert first["first_result_s.prepare"] == 0.5
    assert "latency_s" not in first


def test_sides_of_a_comparison() -> None:
    """For each run; what only one run has is not given for several."""
    document = RESULT
    assert column(document, "side") == ["A", "B"]
    assert column(document, "runtime") == ["eager", "fused"]
    assert column(document, "latency_s.median") == [document.a.latency_s.median, document.b.latency_s.median]
    assert column(document, "ratio_ci95_low") == [0.8, 0.8]
    several = changed(RESULT, runs=(FASTER, changed(FASTER, name="other")))
    assert [(row["run"], row["side"]) for row in rows(several)] == [
        *((run, side) for run in ("batch 1 on cpu", "other") for side in "AB")
    ]
    assert "runtime" not in rows(several)[0]
    assert set(column(several, "parameters")) == {4_293_888, 3_220_416}


def test_outputs_of_an_exported_file(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """For each input that was tried."""
    words = ("export", "--format", "safetensors", "--output", str(tmp_path / "net.safetensors"), "--size", "64")
    document = printed(mnfpn, ExportDocument, *words)
    assert column(document, "name") == ["p2", "p3", "p4", "p5"]
    assert set(column(document, "max_abs_difference")) == {0.0}


def test_presets_and_what_has_one_row() -> None:
    """Settings by their keys; a document without a table is a row itself."""
    channels = {row["name"]: row["settings.pyramid.channels"] for row in rows(presets_document())}
    assert [channels[name] for name in ("retina-fpn", "mobilenetv2-fpnlite", "fpn-classifier")] == [256, 128, 256]
    assert channels["mobilenetv2-classifier"] is None
    pruned = RunsPruneDocument(settings=None, model=None, runs=1, results=2, restored=0, busy=0, dry_run=True)
    assert rows(pruned) == [{"runs": 1, "results": 2, "restored": 0, "busy": 0, "dry_run": True}]


def test_runs_of_a_store(stored: Stored) -> None:
    """The same columns in a list, in an export and in a report, which has more."""
    runs = newest_first(stored.runs)
    listed = list_document("runs.db", runs, None, stored.sweeps, stored.baselines)
    exported = runs_export_document(runs, stored.baselines)
    report = report_document(stored.runs, stored.baselines, stored.objective)
    assert rows_of(listed) == rows_of(exported)
    assert set(rows_of(report)[0]) - set(rows_of(listed)[0]) == {
        "name",
        *(f"score.{name}" for name in ScoreRecord.model_fields),
        "on_frontier",
        *(f"prediction.{name}" for name in PredictionRecord.model_fields),
    }
    assert len(rows(report)) == len(rows(listed)) == len(SWEPT)
    assert set(column(listed, "settings.width_mult")) == {0.35, 0.5, 0.75, 1.0}


def test_results_of_a_run_and_recommended_runs(stored: Stored) -> None:
    """The next step is among them, and named so."""
    run = next(run for run in stored.runs if run.status == "done")
    assert run.result
    shown = show_document(run, [run.result], stored.baselines, ())
    assert column(shown, "run.latency_s.median") == [run.latency_s]
    document = recommended(stored, 0.1)
    choices = column(document, "choice")
    assert choices == ["pick"] * len(document.recommendations[0].picks) + ["step"]
    assert all(command.startswith("mnfpn ") for command in column(document, "commands.measure"))


def test_runs_of_a_space_and_measured_sweeps(stored: Stored) -> None:
    """Networks of it; and each sweep with its numbers of runs."""
    planned = [one.planned for one in SWEPT]
    space = PlannedSpace(list(planned), Counter(), Counter(), 0)
    document = space_document(Chosen(planned, space, "all", "mnfpn sweep"), None)
    assert column(document, "cost.macs") == [one.cost.macs for one in document.sample]
    swept = Swept("runs.db", tuple(stored.sweeps), tuple(stored.runs), tuple(stored.baselines), ())
    assert column(swept_document(swept, after_sweep("runs.db"), []), "counts.done") == [7]


@needs("pandas")
def test_a_data_frame_has_the_columns_and_the_types_of_the_values(stored: Stored) -> None:
    """Numbers are numbers, moments are times in UTC; what was not measured is missing."""
    document = list_document("runs.db", stored.runs, None, stored.sweeps, stored.baselines)
    frame = document.to_pandas()
    assert list(frame.columns) == rows_of(document)[0]
    assert len(frame) == len(SWEPT)
    assert frame["latency_s.median"].isna().sum() == 2
    assert frame["latency_s.median"].min() == min(one.latency_s for one in stored.runs if one.latency_s)
    assert str(frame["finished"].dtype).endswith("UTC]")
    assert frame.groupby("runtime")["cost.macs"].max().dtype.kind == "i"


@needs("pandas")
@pytest.mark.parametrize("statuses", [(), ("pending",)])
def test_a_data_frame_of_nothing_has_its_columns(stored: Stored, statuses: Sequence[str]) -> None:
    """A program that reads them need not ask whether there are any."""
    runs = [one for one in stored.runs if one.status in statuses]
    document = list_document("runs.db", runs, None, (), stored.baselines)
    frame = document.to_pandas()
    assert len(frame) == len(runs)
    assert {"key", "latency_s.median", "finished"} <= set(frame.columns)

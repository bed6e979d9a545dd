"""What `mnfpn report` draws follows from its documents alone: read back from JSON, they give the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.records import PredictionRecord, ScoreRecord
from mnfpn_cli.documents.report import PageDocument, ReportDocument
from mnfpn_cli.report.figures.frontier import frontier_figure
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.figures.style import COLOURS, GREY
from mnfpn_cli.report.page.content import page_content
from mnfpn_cli.report.page.data import page_data
from mnfpn_cli.report.page.page import report_page
from mnfpn_cli.report.terminal.frontier import frontier_report
from mnfpn_cli.report.terminal.plain import as_text
from tests.needs import needs
from tests.report.pages import MADE, read
from tests.report.stores import CHANNELS_LAST, EAGER, LARGE, SAMPLE, SMALL, Made, make_store

DRIFTING = [(0, 0.01), (30, 0.012)]
SEVERAL = (
    *SAMPLE,
    Made(1.0, SMALL, replace(EAGER, train=True), 0.05, worker="there"),
    Made(0.5, SMALL, replace(EAGER, batch=8), 0.05, samples=5),
)
"""Runs with several frontiers, on two workers, one of them with too few samples for an interval."""


runs = pytest.mark.parametrize("runs", [(), SAMPLE[7:], SEVERAL], ids=["none", "not measured", "several"])


def page_of_runs(folder: Path, runs: tuple[Made, ...]) -> PageDocument:
    """The report of made-up runs, whose baseline run moved, as its page takes it."""
    return read(make_store(folder / "runs.db", runs, DRIFTING if runs else ()))


def printed_and_read(page: PageDocument) -> ReportDocument:
    """The document of `mnfpn report --json`, without what the page has besides, read back from its JSON."""
    printed = ReportDocument(**{key: value for key, value in page if key in ReportDocument.model_fields})
    return ReportDocument.model_validate_json(to_json(printed))


@runs
def test_the_terminal_is_drawn_from_the_document_that_is_printed(tmp_path: Path, runs: tuple[Made, ...]) -> None:
    """That of `mnfpn report --json`: it needs nothing of a page's."""
    page = page_of_runs(tmp_path, runs)
    again = printed_and_read(page)
    assert as_text(frontier_report(again)) == as_text(frontier_report(page))


@needs("plotly")
@pytest.mark.parametrize("figure", [frontier_figure, sizes_figure])
def test_plots_are_drawn_from_the_document_that_is_printed(
    tmp_path: Path, figure: Callable[[ReportDocument], object]
) -> None:
    """Points, intervals, lines and legends."""
    page = page_of_runs(tmp_path, SEVERAL)
    assert figure(printed_and_read(page)) == figure(page)
    assert figure(page) != figure(read(make_store(tmp_path / "few.db", SEVERAL[:4])))


def traces(figure: Any, kind: str) -> list[Any]:
    """The traces of a kind in a figure."""
    return [one for one in figure.data if one.meta["kind"] == kind]


@needs("plotly")
def test_runs_that_are_not_on_the_frontier_are_grey(tmp_path: Path) -> None:
    """Those on it have the colour of their runtime, and lie above its line; both have the symbol of the runtime."""
    page = read(make_store(tmp_path / "runs.db", SAMPLE))
    figure = frontier_figure(page)
    found = {(one.marker.color, one.marker.symbol): set(one.customdata) for one in traces(figure, "runs")}
    on_frontier = {index for index, run in enumerate(page.runs) if run.on_frontier}
    assert found == {
        (GREY, "circle"): {i for i, one in enumerate(page.runs) if one.runtime == "channels-last" and one.latency_s}
        - on_frontier,
        (GREY, "square"): {i for i, one in enumerate(page.runs) if one.runtime == "eager" and one.latency_s},
        (COLOURS[0], "circle"): on_frontier,
    }
    assert [one.meta["kind"] for one in figure.data[:4]] == ["runs", "runs", "frontier", "runs"]


def with_predictions(page: PageDocument) -> PageDocument:
    """The page with scores of a metric, some of them estimates; runs without a time have a predicted one."""
    runs = []
    for index, run in enumerate(page.runs):
        error, kind = (0.5, "estimated") if index % 2 else (None, "measured")
        score = ScoreRecord.model_validate(
            {"metric": "map", "value": 20.0 + index, "error": error, "kind": kind, "source": "a test", "date": None}
        )
        prediction = None
        if run.latency_s is None:
            prediction = PredictionRecord(seconds=0.02, low=0.018, high=0.023, extrapolated="larger than any measured")
        runs.append(run.model_copy(update={"score": score, "prediction": prediction}))
    return page.model_copy(update={"metric": "map", "runs": tuple(runs)})


@needs("plotly")
def test_predicted_runs_are_hollow_with_dotted_intervals(tmp_path: Path) -> None:
    """Along both axes, where a score is an estimate; the legend says what they are."""
    page = with_predictions(read(make_store(tmp_path / "runs.db", SAMPLE)))
    predicted = [index for index, run in enumerate(page.runs) if run.is_predicted]
    assert len(predicted) == 2
    for figure in (frontier_figure(page), sizes_figure(page)):
        hollow = [one for one in traces(figure, "runs") if (one.marker.symbol or "").endswith("-open")]
        assert sorted(index for one in hollow for index in one.customdata) == predicted
        assert {y for one in hollow for y in one.y} == {20.0}
        bars = traces(figure, "intervals")
        assert {one.line.dash for one in bars} == {"dot"}
        assert sorted({y for one in bars for y in one.y} - {None, 20.0}) == pytest.approx([18.0, 23.0])
    names = [one.name for one in traces(frontier_figure(page), "key")]
    assert names[-2:] == ["not on the frontier", "predicted, with its 90 % interval"]
    errors = [error for one in traces(frontier_figure(page), "runs") for error in one.error_x.array or ()]
    assert set(errors) == {0.0, 0.5}


@needs("plotext")
def test_a_terminal_marks_predicted_runs(tmp_path: Path) -> None:
    """In the plot and in the table, with what the mark means."""
    page = with_predictions(read(make_store(tmp_path / "runs.db", SAMPLE)))
    (frontier,) = page.frontier
    chosen = next(run for run in page.runs if run.is_predicted)
    page = page.model_copy(update={"frontier": (frontier.model_copy(update={"runs": (*frontier.runs, chosen)}),)})
    text = as_text(frontier_report(page))
    assert "≈ 20.00 ms" in text
    assert "≈ is before times that are predicted and not measured; their intervals are of 90 %." in text
    assert "× predicted" in text
    assert text.count("×") == 3


@needs("plotly", "jinja2")
def test_a_page_has_each_text_once(tmp_path: Path) -> None:
    """A run names its texts by their indices, and so they come back whole."""
    page = with_predictions(read(make_store(tmp_path / "runs.db", SAMPLE)))
    data = page_data(page, as_options)
    assert len(set(data.texts)) == len(data.texts)
    for index, run in enumerate(page.runs):
        assert " ".join(data.texts[word] for word in data.runs.command[index]) == run.command
        assert data.texts[data.runs.runtime[index]] == run.runtime
    hover = [data.texts[line] for line in data.runs.hover[next(i for i, run in enumerate(page.runs) if run.prediction)]]
    assert {"20.00 ms (18.00–23.00 ms)", "predicted, not measured", "larger than any measured"} <= set(hover)
    assert list(data.times.middle) == [pytest.approx(1e3 * (run.time_s or 0)) for run in page.runs]
    assert "Hollow points are predicted" in report_page(page, as_options, MADE)


@needs("plotly", "jinja2")
def test_a_page_says_once_what_its_only_network_is(tmp_path: Path) -> None:
    """Though its runs differ in size and runtime."""
    few = [Made(0.5, size, runtime, 0.01, channels=64) for size in (SMALL, LARGE) for runtime in (EAGER, CHANNELS_LAST)]
    page = read(make_store(tmp_path / "runs.db", few))
    assert {run.name for run in page.runs} == {"width_mult 0.5, channels 64"}
    assert "One network: width_mult 0.5, pyramid.channels 64." in report_page(page, as_options, MADE)
    assert "One network" not in report_page(read(make_store(tmp_path / "more.db", SAMPLE)), as_options, MADE)


@needs("plotly", "jinja2")
@runs
def test_the_page_is_drawn_from_its_document(tmp_path: Path, runs: tuple[Made, ...]) -> None:
    """Its texts, the data of its script, and so all of it."""
    page = page_of_runs(tmp_path, runs)
    again = PageDocument.model_validate_json(to_json(page))
    assert page_content(again) == page_content(page)
    assert page_data(again, as_options) == page_data(page, as_options)
    assert report_page(again, as_options, MADE) == report_page(page, as_options, MADE)


def test_a_page_lists_the_settings_that_were_asked_for(tmp_path: Path) -> None:
    """Not the threads that measured runs had: pending runs have none yet, and that is no difference of the sweep."""
    page = page_of_runs(tmp_path, SAMPLE)
    assert {one.threads for one in page.runs} == {2, None}
    # Each once, in the order of the runs: that of their keys, which are hashes of all settings.
    assert {key: sorted(words) for key, words in page.differences.items()} == {
        "width_mult": ["0.35", "0.5", "1.0"],
        "size": ["128x128", "64x64"],
        "runtime": ["channels-last", "eager"],
    }

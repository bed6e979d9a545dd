"""What `mnfpn report` draws follows from its documents alone: read back from JSON, they give the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.report import PageDocument, ReportDocument
from mnfpn_cli.report.figures.frontier import frontier_figure
from mnfpn_cli.report.figures.sizes import sizes_figure
from mnfpn_cli.report.page.content import page_content
from mnfpn_cli.report.page.data import page_data
from mnfpn_cli.report.page.page import report_page
from mnfpn_cli.report.terminal.frontier import frontier_report
from mnfpn_cli.report.terminal.plain import as_text
from tests.needs import needs
from tests.report.pages import MADE, read
from tests.report.stores import EAGER, SAMPLE, SMALL, Made, make_store

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

"""Pages of made-up runs, and their data, elements and texts."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.report import PageDocument
from mnfpn_cli.report.page.page import report_page
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep.objective import choose_objective
from mnfpn_cli.sweep.report import page_document, report_document
from tests.report.stores import Made, make_store

MADE = datetime(2026, 11, 21, 12, tzinfo=UTC)


def read(path: Path, name: str = "runs.db", sweep: int | None = None, metric: str | None = None) -> PageDocument:
    """The report of a store, or of one of its sweeps, as its page takes it; ``name``: the store's name on the page."""
    with open_store(str(path)) as store:
        runs = read_runs(store, sweep)
        objective = choose_objective(runs, metric)
        report = report_document(runs, read_baselines(store), objective)
        return page_document(report, name, runs, read_sweeps(store))


def page_of(
    folder: Path, runs: tuple[Made, ...], moved: bool = False, command: str = "mnfpn sweep", store: str = "runs.db"
) -> Path:
    """A page of made-up runs; ``store``: the name of the store on it."""
    times = [(0, 0.01), (30, 0.012)] if moved else []
    document = read(make_store(folder / "runs.db", runs, times, command), store)
    page = folder / "report.html"
    page.write_text(report_page(document, as_options, MADE), encoding="utf-8")
    return page


def data_of(page: Path) -> dict[str, Any]:
    """The data that a page carries."""
    text = page.read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match
    found: dict[str, Any] = json.loads(match[1])
    return found


def texts_of(page: Path, name: str) -> list[str]:
    """A field of the runs in the data of a page, as text."""
    data = data_of(page)
    return [data["texts"][index] for index in data["runs"][name]]


def cells_of(page: Path) -> list[list[str]]:
    """The texts of the table in the data of a page, a list for each run."""
    data = data_of(page)
    return [
        [data["texts"][column["words"][row]] for column in data["columns"]] for row in range(len(data["runs"]["key"]))
    ]


class Parsed(HTMLParser):
    """A parsed page: its elements with their attributes, its texts, scripts and comments."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.comments: list[str] = []
        self._texts: list[str] = []
        self._inside = ""
        self.feed(page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element; what follows is its text."""
        self._inside = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style sheet: what follows is text."""
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Keep a script, and the text that people read."""
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self._texts.append(data)

    def handle_comment(self, data: str) -> None:
        """Keep a comment."""
        self.comments.append(data)

    @property
    def text(self) -> str:
        """All texts of the page, with white space collapsed as a browser does."""
        return " ".join("".join(self._texts).split())

    def count(self, tag: str) -> int:
        """The number of elements of a tag."""
        return sum(name == tag for name, _ in self.elements)

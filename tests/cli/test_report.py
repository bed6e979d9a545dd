"""`mnfpn report` on the command line: the terminal, pages, pictures, and what goes wrong."""

import json
import sys
from pathlib import Path

import pytest

from mnfpn_cli.report.figures import frontier as picture
from tests.cli.test_imports import loaded
from tests.conftest import Mnfpn
from tests.needs import browser_path, needs
from tests.report.stores import EAGER, SAMPLE, SMALL, Made, make_store

needs_page = needs("plotly", "jinja2")
needs_kaleido = needs("plotly", "kaleido")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nine runs in one sweep."""
    return str(make_store(tmp_path_factory.mktemp("report") / "runs.db", SAMPLE))


@needs("plotext")
def test_the_terminal_has_the_frontier(mnfpn: Mnfpn, store: str) -> None:
    """As a table with a plot below."""
    done = mnfpn("report", "--store", store)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Frontier on cpu of A CPU, 2 cores: 4 of 7 runs")
    assert "Latency against MACs" in done.out


def test_a_report_needs_no_torch(store: str) -> None:
    """It is there at once."""
    assert loaded("report", "--store", store) == "0 ['pydantic']"


@needs_kaleido
def test_nothing_measured_is_no_picture(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """An empty plot would say less."""
    path = make_store(tmp_path / "runs.db", SAMPLE[7:])
    done = mnfpn("report", "--store", str(path), "--output", str(tmp_path / "plot.svg"))
    assert (done.code, done.err) == (
        1,
        "error: --output: there is nothing to plot: no run of the store is measured\n",
    )


def test_json_is_one_document(mnfpn: Mnfpn, store: str) -> None:
    """With the version of its format."""
    found = json.loads(mnfpn("report", "--store", store, "--json").out)
    assert found["command"] == "report"
    assert found["format_version"]
    assert len(found["frontier"][0]["runs"]) == 4


@needs_page
def test_the_page_is_written_and_reported(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """By the name's suffix; in JSON with the file's name."""
    page = tmp_path / "report.html"
    done = mnfpn("report", "--store", store, "--output", str(page))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{page}: the page of 9 runs, ")
    assert "mnfpn report: runs.db" in page.read_text(encoding="utf-8")
    again = mnfpn("report", "--store", store, "--output", str(page), "--json")
    assert json.loads(again.out)["output"] == str(page)


@needs_page
def test_the_page_does_not_tell_where_the_store_is(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """People pass it on."""
    page = tmp_path / "report.html"
    mnfpn("report", "--store", store, "--output", str(page))
    assert str(Path(store).parent) not in page.read_text(encoding="utf-8")


@pytest.mark.slow
@needs_kaleido
@pytest.mark.parametrize(("name", "begins"), [("plot.png", b"\x89PNG"), ("plot.svg", b"<svg")])
def test_a_picture_is_drawn(mnfpn: Mnfpn, store: str, tmp_path: Path, name: str, begins: bytes) -> None:
    """By the system's browser."""
    browser_path()
    file = tmp_path / name
    assert mnfpn("report", "--store", store, "--output", str(file)).code == 0
    assert file.read_bytes().startswith(begins)


@needs_page
def test_the_format_is_enough_where_the_name_says_nothing(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """As with other commands."""
    file = tmp_path / "page"
    assert mnfpn("report", "--store", store, "--output", str(file), "--format", "html").code == 0
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_device_and_a_sweep_can_be_chosen(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """The others are not in it."""
    path = tmp_path / "runs.db"
    make_store(path, SAMPLE[:1])
    make_store(path, [Made(1.0, SMALL, EAGER, 0.01)])
    assert "1 run: 1 done." in mnfpn("report", "--store", str(path), "--sweep", "1").out
    assert "2 runs: 2 done." in mnfpn("report", "--store", str(path), "--device", "cpu").out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--format", "png"], "--format: requires --output FILE"),
        (["--format", "pdf"], "--format: must be one of html, png, svg, got 'pdf'"),
        (["--output", "report.txt"], "--output: must end in .html, .htm, .png, .svg unless --format is given"),
        (["--output", "no/such/folder/report.html"], "--output: folder 'no/such/folder' does not exist"),
        (["--sweep", "7"], "--sweep: must be the number of a sweep in the store (1), got 7"),
        (["--device", "cuda"], "--device: must be one that the store has runs of (cpu), got 'cuda'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: str
) -> None:
    """With place, rule and value."""
    monkeypatch.chdir(tmp_path)  # the folder that tests are run from may be one that cannot be written
    done = mnfpn("report", "--store", store, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {error}")


def test_a_store_that_is_not_there_is_not_made(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A report reads."""
    done = mnfpn("report", "--store", str(tmp_path / "none.db"))
    assert done.code == 2
    assert "there is no file" in done.err
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("plotly", "report.html"),
        pytest.param("jinja2", "report.html", marks=needs("plotly")),
        pytest.param("kaleido", "plot.png", marks=needs("plotly")),
    ],
)
def test_an_absent_package_is_named_with_what_brings_it(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    """And nothing is written."""
    for module in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    done = mnfpn("report", "--store", store, "--output", str(tmp_path / name))
    assert done.code == 1
    assert package in done.err.lower()
    assert "pip install 'mnfpn[report]'" in done.err
    assert not (tmp_path / name).exists()


@needs_kaleido
def test_without_a_browser_a_picture_says_what_to_install(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or how to name one."""
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(picture, "BROWSERS", ("no-such-browser",))
    done = mnfpn("report", "--store", store, "--output", str(tmp_path / "plot.png"))
    assert done.code == 1
    assert picture.INSTALL in done.err


@needs_kaleido
@pytest.mark.parametrize("named", ["no-such-browser", "true"])
def test_an_unusable_browser_is_reported(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Whether it is absent, or draws nothing."""
    monkeypatch.setenv("BROWSER_PATH", named)
    done = mnfpn("report", "--store", store, "--output", str(tmp_path / "plot.png"))
    assert done.code == 1
    assert done.err.startswith("error: --format: ")
    assert len(done.err.splitlines()) == 1

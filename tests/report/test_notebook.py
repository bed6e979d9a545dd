"""A real notebook, run by Jupyter's kernel and looked at in a browser."""

from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs
from tests.report.browser import Watched, browser, opened
from tests.report.stores import SAMPLE, make_store

pytestmark = [pytest.mark.slow, needs("nbclient", "ipykernel", "pandas")]

PROGRAM = (
    """
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

settings = NetworkSettings()
shapes = network_shapes(plan_network(settings), network_input(settings, Size(600, 900)))
document = shapes_document(settings, [shapes], "float32", verified=True)
document
""",
    "print(document)",
    "document.to_pandas()",
    """
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from mnfpn_cli.sweep.objective import choose_objective
from mnfpn_cli.sweep.report import report_document

with open_store("runs.db") as store:
    runs = read_runs(store)
    report = report_document(runs, [], choose_objective(runs, None))
report
""",
)
"""The cells of the notebook."""

JUPYTER = (
    ":not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td,:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th"
    "{text-align:right;white-space:normal;padding:.5em;max-width:none;border:none}"
    ".jp-RenderedHTMLCommon pre{font-family:sans-serif;white-space:pre-wrap}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}}"
)
"""JupyterLab's rules for outputs that the output must outrank."""


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the cells show, by media type; a cell that fails is an error."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    make_store(tmp_path / "runs.db", SAMPLE)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in PROGRAM])
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    shown = [output for cell in notebook.cells for output in cell.outputs]
    return [one.get("data", {"text/plain": one.get("text")}) for one in shown]


@pytest.fixture
def page(outputs: list[dict[str, Any]], tmp_path: Path) -> Path:
    """The HTML of the documents, as on a page of JupyterLab."""
    shown = [one["text/html"] for one in outputs if 'class="mnfpn"' in one.get("text/html", "")]
    parts = "".join(f'<div class="jp-RenderedHTMLCommon">{html}</div>' for html in shown)
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><style>{JUPYTER}</style>{parts}<footer>End</footer>", "utf-8")
    return file


def test_a_notebook_shows_documents(outputs: list[dict[str, Any]], page: Path) -> None:
    """As tables and as text, and the rows as pandas shows them; on a page they look like tables."""
    shown, text, frame, report = outputs
    assert shown["text/plain"] == "ShapesDocument(command='shapes', settings='defaults')"
    assert shown["text/html"].startswith('<div class="mnfpn">')
    assert text["text/plain"].startswith("Input 1×3×600×900, float32\nLevel  Stride")
    assert "dataframe" in frame["text/html"]
    assert "resized_from.height" in frame["text/html"]
    assert "Frontier on cpu" in report["text/html"]
    with browser() as chromium:
        for scheme in ("light", "dark"):
            with opened(chromium, page, width=400, scheme=scheme) as watched:
                assert watched.count(".mnfpn table") == 2
                assert styles(watched, "td.number", "textAlign") == {"right"}
                assert styles(watched, "td:not(.number)", "textAlign") == {"left"}
                assert styles(watched, "pre", "whiteSpace") <= {"pre"}  # the plot, where plotext is installed
                assert styles(watched, "pre", "fontFamily") <= {"monospace"}
                assert watched.number("document.documentElement.scrollWidth - innerWidth") <= 0  # its tables scroll


def styles(watched: Watched, selector: str, name: str) -> set[str]:
    """The values of a style that elements have on the page."""
    elements = f"[...document.querySelectorAll('.mnfpn {selector}')]"
    return set(watched.page.evaluate(f"{elements}.map(one => getComputedStyle(one).{name})"))

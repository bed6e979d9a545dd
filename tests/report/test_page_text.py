"""The page of a report without a browser: the texts of its template, and that all texts of a store stay text."""

import base64
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.report.figures.frontier import COSTS
from tests.needs import needs
from tests.report import stores
from tests.report.pages import Parsed, cells_of, data_of, page_of, texts_of
from tests.report.stores import SAMPLE, Made

pytestmark = needs("plotly", "jinja2")

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "\"><b onmouseover='alert(1)'>&amp;",
    "{{ 7 * 7 }}{% include 'page.css' %}",
]


def hostile_page(folder: Path, evil: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page on which each text that comes from outside is this one."""
    words = dict.fromkeys(("cpu", "gpu_name", "driver", "cuda", "torch", "python", "platform", "mnfpn"), evil)
    monkeypatch.setattr(stores, "ENVIRONMENT", stores.ENVIRONMENT | words)
    monkeypatch.setattr(stores, "WARNING", WarningRecord(kind=evil, cause=evil, helps=evil))
    profiled = replace(SAMPLE[0], by_layer={evil: 0.001})
    runs = [replace(one, worker=evil, reason=one.reason and evil) for one in (profiled, *SAMPLE[1:])]
    return page_of(folder, tuple(runs), command=evil, store=evil)


@pytest.mark.parametrize("evil", HOSTILE)
def test_hostile_names_are_text_of_the_page(tmp_path: Path, evil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They add no element, attribute or comment, and are read as they are."""
    (tmp_path / "harmless").mkdir()
    harmless = Parsed(page_of(tmp_path / "harmless", SAMPLE))
    page = Parsed(hostile_page(tmp_path, evil, monkeypatch))
    assert page.comments == []
    for tag in ("script", "img", "b"):
        assert page.count(tag) == harmless.count(tag)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    read = " ".join(evil.split())
    for words in (
        f"mnfpn report: {read}",
        f"left out): {read}",
        f"{read}, 2 cores",
        f"{read}, driver {read}, CUDA {read}",
        f"torch {read}, Python {read}, mnfpn {read}",
        f"{read}: 7",
        f"{read}. What helps: {read}.",
    ):
        assert words in page.text


def test_control_characters_are_shown_and_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither page nor data has one that a page of harmless names lacks: zeros, escapes, changes of direction."""
    evil = "a\0b\x1b[31mc\x9bd\u202ee\u2066f\x7f"
    (tmp_path / "harmless").mkdir()
    harmless = page_of(tmp_path / "harmless", SAMPLE).read_text(encoding="utf-8")
    page = hostile_page(tmp_path, evil, monkeypatch)
    assert set(evil) & set(page.read_text(encoding="utf-8")) <= set("abcdef[31m") | set(evil) & set(harmless)
    shown = r"a\x00b\x1b[31mc\x9bd\u202ee\u2066f\x7f"
    assert set(texts_of(page, "worker")) == {shown, ""}
    assert f"mnfpn report: {shown}" in Parsed(page).text


@pytest.mark.parametrize("evil", HOSTILE)
def test_hostile_names_are_text_of_the_data(tmp_path: Path, evil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON has no sign that could end its element or begin a comment, and gives each name back as it was."""
    page = hostile_page(tmp_path, evil, monkeypatch)
    (raw,) = [line for line in page.read_text(encoding="utf-8").splitlines() if 'id="data"' in line]
    inside = raw.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert not set("<>&") & set(inside)
    assert set(texts_of(page, "worker")) == {evil, ""}
    failed = texts_of(page, "status").index("failed")
    assert evil in cells_of(page)[failed]


def test_the_policy_lets_the_pages_own_scripts_run_and_no_other(tmp_path: Path) -> None:
    """By their hashes; the element with the data runs nothing, and nothing may be fetched."""
    page = Parsed(page_of(tmp_path, SAMPLE))
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    data, *scripts = page.scripts
    assert data.startswith("{")
    hashes = [base64.b64encode(sha256(one.encode()).digest()).decode() for one in scripts]
    assert len(hashes) == 2
    assert policy is not None
    assert f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; style-src" in policy


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ((), ["0 runs.", "The store has no runs yet. mnfpn sweep --store STORE adds some."]),
        (SAMPLE[7:], ["2 runs: 1 failed, 1 pending.", "No run is measured yet, so there is nothing to plot"]),
        (SAMPLE[:1], ["1 run: 1 done; 1 on the frontier.", "(3 invalid left out): mnfpn sweep"]),
        (SAMPLE[1:2], ["No run has the times of its layers. mnfpn sweep --by-layer measures them too."]),
        (SAMPLE, ["9 runs: 7 done, 1 failed, 1 pending; 4 on the frontier.", "width_mult 0.35, 0.5, 1.0"]),
    ],
    ids=["empty", "nothing measured", "one run", "no layers", "many"],
)
def test_the_page_says_what_a_store_holds(tmp_path: Path, runs: tuple[Made, ...], said: list[str]) -> None:
    """And what it does not hold."""
    page = Parsed(page_of(tmp_path, runs))
    for words in said:
        assert words in page.text


def test_the_page_says_what_makes_its_figures_uncertain(tmp_path: Path) -> None:
    """The baseline run that moved, each warning with its run, and the machine."""
    text = Parsed(page_of(tmp_path, SAMPLE, moved=True)).text
    assert "was up to 20.0 % slower than at first." in text
    assert "baseline runs that moved: 1 2026-11-21 10:30:00 UTC on here: 1.200 × its first time" in text
    assert "drift: 7 width_mult" in text
    warned = [text.count(f"width_mult {width}: passes became slower. What helps: let it") for width in (0.35, 0.5, 1.0)]
    assert warned == [3, 1, 3]
    assert "Worker" in text
    assert "A CPU, 2 cores" in text
    assert "2026-11-21 10:00 to 2026-11-21 10:30 UTC" in text


def test_the_page_spells_parameters_as_options(tmp_path: Path) -> None:
    """In reasons and warnings; what has no backquotes stays as it is."""
    runs = (*SAMPLE[:1], Made(1.0, reason="it took more than 900 s (`run_timeout`)"))
    page = page_of(tmp_path, runs)
    reasons = [words for row in cells_of(page) for words in row if "900 s" in words]
    assert reasons == ["it took more than 900 s (--run-timeout)"]
    assert "`" not in Parsed(page).text


def test_without_measurements_there_is_no_environment_and_no_warning(tmp_path: Path) -> None:
    """Their sections are left out."""
    named = [attributes.get("id") for _, attributes in Parsed(page_of(tmp_path, SAMPLE[7:])).elements]
    assert "runs" in named
    assert "environment" not in named
    assert "warnings" not in named


def test_the_page_offers_every_cost_once(tmp_path: Path) -> None:
    """Those of `COSTS`."""
    axes = data_of(page_of(tmp_path, SAMPLE))["axes"]
    assert [one["key"] for one in axes] == [cost.key for cost in COSTS]

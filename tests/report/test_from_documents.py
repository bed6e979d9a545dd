"""A table has nothing but its document: what a command prints follows from the JSON that it prints."""

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from pydantic import TypeAdapter

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import Document
from mnfpn_cli.documents.schema import DOCUMENTS
from mnfpn_cli.documents.sweep import ReusedRecord
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from tests.conftest import Mnfpn
from tests.report.stores import CHANNELS_LAST, EAGER, LARGE, SAMPLE, SMALL, Made, make_store

SPACE = ("sweep", "--width-mult", "0.5,1.0", "--size", "64,96", "--runtime", "all", "--device", "cpu")
ENDED = (*SAMPLE[:8], Made(0.5, LARGE, EAGER, reason="two\nlines"))
"""Runs that are done or failed, none of them pending."""


def parsed(printed: str, command: str) -> Any:
    """A document from its JSON."""
    return TypeAdapter(resolve_name(DOCUMENTS[command])).validate_json(printed)


def check_printed(document: Document, out: str) -> None:
    """Check that `print` prints what the command printed, but for the spelling of parameters."""
    assert as_options(f"{document}\n") == out


def check_follows(mnfpn: Mnfpn, words: Sequence[str]) -> str:
    """Run a command twice: what it prints must be the tables of the document that it prints. Return the tables."""
    text, printed = mnfpn(*words), mnfpn(*words, "--json")
    assert text.code == printed.code
    assert text.err == printed.err
    check_printed(parsed(printed.out, words[0]), text.out)
    return text.out


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store whose runs were measured or failed, on a machine that became slower."""
    return str(make_store(tmp_path / "runs.db", ENDED, [(0, 0.01), (30, 0.012)]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-macs", "300M", "--measure", "none"), "by --max-macs"),
        (("--measure", "20", "--size", "16,64"), "Invalid combinations"),
        (("--measure", "all"), "less those whose runtime cannot run there"),
        (("--measure", "2", "--min-levels", "3"), "no measurements yet"),
    ],
)
def test_a_planned_space(mnfpn: Mnfpn, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """With its budget, its invalid combinations, the time that it takes, and its frontier."""
    assert said in check_follows(mnfpn, (*SPACE, "--store", str(tmp_path / "runs.db"), "--dry-run", *options))


def test_a_planned_space_of_which_a_store_has_runs(mnfpn: Mnfpn, store: str) -> None:
    """The time of each is the mean of those that were measured."""
    assert "\ntime        about " in check_follows(mnfpn, (*SPACE, "--store", store, "--dry-run"))


@pytest.mark.parametrize(
    "words",
    [
        ("shapes", "--size", "64,100", "--preset", "retina-fpn"),
        ("shapes", "--model", "tests.audit.networks:PlainLists", "--size", "64"),
        ("summary", "--size", "64", "--counts"),
        ("audit", "--size", "64"),
        ("audit", "--model", "tests.audit.networks:PlainLists", "--size", "64"),
        ("bench", "--size", "64", "--passes", "6", "--warmup", "1", "--runtime", "eager,cuda-graph", "--device", "cpu"),
        ("compare", "--a", "", "--b", "--width-mult 0.5", "--size", "64", "--passes", "6", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_a_network(mnfpn: Mnfpn, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Its tables follow from the document that is written to a file by the same command."""
    file = tmp_path / "result.json"
    out = mnfpn(*words, "--output", str(file)).out
    check_printed(parsed(file.read_text(encoding="utf-8"), words[0]), out)


@pytest.mark.parametrize(
    "options", [(), ("--depth", "1"), ("--depth", "3"), ("--sort", "macs", "--top", "4"), ("--filter", "*.conv")]
)
def test_a_summary_lists_the_layers_that_were_chosen(mnfpn: Mnfpn, options: tuple[str, ...]) -> None:
    """Of all layers those that the command lists, and all of those that were chosen by other options."""
    check_follows(mnfpn, ("summary", "--size", "64", *options))


def test_presets_and_an_exported_file(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A line each; and how the file was checked."""
    (printed, out) = (mnfpn("settings", "presets", *form).out for form in (("--json",), ()))
    check_printed(parsed(printed, "presets"), out)
    file = str(tmp_path / "net.safetensors")
    words = ("export", "--format", "safetensors", "--output", file, "--size", "64")
    assert f"Written: {file}" in check_follows(mnfpn, words)


def test_a_frontier(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """With its plot; a store without runs names the command that adds some."""
    assert "Frontier on cpu" in check_follows(mnfpn, ("report", "--store", store))
    empty = str(make_store(tmp_path / "empty.db", ()))
    assert "mnfpn sweep --store STORE" in check_follows(mnfpn, ("report", "--store", empty))


def test_data_for_other_programs_prints_as_json(mnfpn: Mnfpn, store: str) -> None:
    """As the command does without a format."""
    out = mnfpn("runs", "export", "--store", store).out
    assert f"{parsed(out, 'runs')}\n" == out


def test_a_measured_sweep(mnfpn: Mnfpn, store: str) -> None:
    """With the runs that failed, the baseline run that moved, and what to type next."""
    text = check_follows(mnfpn, ("sweep", "--resume", "--store", store))
    assert "the baseline run moved" in text
    assert "out of memory" in text
    assert f"mnfpn report --store {store}" in text


def test_listed_runs(mnfpn: Mnfpn, store: str) -> None:
    """All of them, those within a limit, and those of a status; also where there is none."""
    assert f"{len(ENDED)} runs in '{store}'" in check_follows(mnfpn, ("runs", "list", "--store", store))
    assert "7 more: see them with --limit 9 or --json" in check_follows(
        mnfpn, ("runs", "list", "--store", store, "--limit", "2")
    )
    assert "two / lines" in check_follows(mnfpn, ("runs", "list", "--store", store, "--status", "failed"))
    none = check_follows(mnfpn, ("runs", "list", "--store", store, "--status", "pending"))
    assert f"No such runs in '{store}'." in none


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Made(0.5, SMALL, CHANNELS_LAST, 0.009), "threads  2, torch's choice"),
        (Made(0.5, SMALL, EAGER, 0.009, minute=30), "corrected for the machine's drift"),
        (Made(0.5, SMALL, EAGER, reason="out of memory"), "Failed: out of memory"),
        (Made(0.5, LARGE, EAGER), "threads  torch's choice"),
    ],
)
def test_a_run_in_full(mnfpn: Mnfpn, tmp_path: Path, made: Made, said: str) -> None:
    """Measured, also on a machine that became slower, failed or pending."""
    store = str(make_store(tmp_path / "runs.db", [made], [(0, 0.01), (30, 0.012)]))
    with open_store(store) as opened:
        (run,) = read_runs(opened)
    assert said in check_follows(mnfpn, ("runs", "show", run.key, "--store", store))


def test_recommended_runs(mnfpn: Mnfpn, store: str) -> None:
    """Those within the budget, and where there is none the fastest."""
    budget = ("--max-latency", "10ms", "--max-macs", "5G")
    assert "Within --max-macs 5G, --max-latency 10ms on" in check_follows(
        mnfpn, ("recommend", "--store", store, *budget)
    )
    assert "none of 7 measured runs is within --max-latency 1us; fastest" in check_follows(
        mnfpn, ("recommend", "--store", store, "--max-latency", "1us")
    )


def test_removed_and_merged_runs(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """How many there are, and of which stores."""
    assert "Would remove: 2 runs" in check_follows(mnfpn, ("runs", "prune", "--failed", "--dry-run", "--store", store))
    other = str(make_store(tmp_path / "other.db", ()))
    assert f"from '{other}' into '{store}'" in check_follows(mnfpn, ("runs", "merge", other, "--store", store))


def test_results_of_other_options_are_in_the_document(mnfpn: Mnfpn, store: str) -> None:
    """With the options of both sweeps; without options, a sweep has the default ones."""
    document = parsed(mnfpn("sweep", "--resume", "--store", store, "--json").out, "sweep")
    for options, words in ((None, "options that are not known"), ("", "the default options"), ("`passes` 6",) * 2):
        record = ReusedRecord(runs=1, measured_with=options, wanted="`passes` 30")
        text = str(document.model_copy(update={"reused": (record,)}))
        assert f"1 result is of another sweep, measured with {words}, not with `passes` 30: " in text

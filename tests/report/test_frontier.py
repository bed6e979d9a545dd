"""The measured frontier, as a table, as a plot and as JSON."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.documents.report import ReportDocument
from mnfpn_cli.report.figures.frontier import frontier_figure
from mnfpn_cli.report.terminal.frontier import (
    HINT,
    TerminalPlot,
    frontier_report,
    round_numbers,
    short,
)
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.settings.input import Size
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines
from mnfpn_cli.sweep.frontier import ScoredRun, TimingGroup, frontiers, scored_runs
from mnfpn_cli.sweep.objective import choose_objective
from tests.needs import needs
from tests.report.pages import read
from tests.report.stores import EAGER, FRONTIER, SAMPLE, SMALL, Made, make_store, run_of


def reported(path: Path, runs: Sequence[Made], times: Sequence[tuple[int, float]] = ()) -> ReportDocument:
    """The report of made-up runs."""
    return read(make_store(path / "runs.db", runs, times))


def found_frontiers(
    path: Path, runs: Sequence[Made], times: Sequence[tuple[int, float]] = ()
) -> dict[TimingGroup, list[ScoredRun]]:
    """The frontiers of made-up runs."""
    with open_store(str(make_store(path / "runs.db", runs, times))) as store:
        stored = read_runs(store)
        return frontiers(scored_runs(stored, read_baselines(store), choose_objective(stored, None)))


def test_a_run_is_on_the_frontier_where_none_is_as_fast_with_a_higher_score(tmp_path: Path) -> None:
    """Or faster, with as high a one; the fastest first. What failed, or is pending, is not on it."""
    (some,) = found_frontiers(tmp_path, SAMPLE).values()
    assert [one.run.planned.run for one in some] == [run_of(SAMPLE[index]) for index in FRONTIER]


def test_the_frontier_is_of_the_times_that_the_tables_show(tmp_path: Path) -> None:
    """Without drift; measured at a drift of 2, a run of 12 ms is faster than one of 8 ms."""
    runs = [Made(0.5, SMALL, EAGER, 0.008), Made(1.0, SMALL, EAGER, 0.012, minute=30)]
    (raw,) = found_frontiers(tmp_path, runs).values()
    assert len(raw) == 2
    (tmp_path / "drift").mkdir()
    (some,) = found_frontiers(tmp_path / "drift", runs, [(0, 0.01), (30, 0.02)]).values()
    assert [one.run.settings.width_mult for one in some] == [1.0]
    assert some[0].timed.seconds == pytest.approx(0.006)
    report = read(tmp_path / "drift/runs.db")
    assert [one.seconds for one in report.frontier[0].runs] == [pytest.approx(0.006)]
    (cloud,) = (one for one in frontier_figure(report).data if one.meta["kind"] == "frontier")
    assert list(cloud.y) == [pytest.approx(6.0)]


def test_machines_devices_and_batches_have_frontiers_of_their_own(tmp_path: Path) -> None:
    """A pass over eight images is not compared with one over a single image."""
    eight = replace(EAGER, batch=8)
    runs = [Made(1.0, SMALL, EAGER, 0.01), Made(0.5, SMALL, eight, 0.05), Made(1.0, SMALL, eight, 0.06)]
    runs.append(Made(1.0, SMALL, Execution(device="cuda"), 0.001))
    found = found_frontiers(tmp_path, runs)
    assert [(bench.device, bench.batch, len(some)) for bench, some in found.items()] == [
        ("cpu", 1, 1),
        ("cpu", 8, 2),
        ("cuda", 1, 1),
    ]


def test_training_steps_have_a_frontier_of_their_own(tmp_path: Path) -> None:
    """A training step is not compared with an inference pass."""
    training = replace(EAGER, train=True)
    runs = [Made(1.0, SMALL, EAGER, 0.01), Made(0.5, SMALL, training, 0.05), Made(1.0, SMALL, training, 0.06)]
    found = found_frontiers(tmp_path, runs)
    assert [(bench.train, len(some)) for bench, some in found.items()] == [(False, 1), (True, 2)]
    again = tmp_path / "again"
    again.mkdir()
    made = reported(again, runs)
    titles = [line for line in as_text(frontier_report(made)).splitlines() if line.startswith("Frontier on")]
    assert titles == [
        "Frontier on cpu of A CPU, 2 cores: 1 of 1 run",
        "Frontier on cpu of A CPU, 2 cores, training steps: 2 of 2 runs",
    ]
    assert [one.train for one in made.frontier] == [False, True]


def test_the_table_has_the_frontier_and_says_what_it_goes_by(tmp_path: Path) -> None:
    """By MACs where there are no scores; and why."""
    text = as_text(frontier_report(reported(tmp_path, SAMPLE)))
    lines = text.splitlines()
    assert lines[0] == "Frontier on cpu of A CPU, 2 cores: 4 of 7 runs"
    assert " ".join(lines[1].split()) == "Network Size Median ±95 % MACs Parameters Memory"
    assert [line.split()[2] for line in lines[2:6]] == ["0.35", "1.0", "0.35", "1.0"]
    assert "5.000 ms" in lines[2]
    assert "Nothing has a score, so the best run is the one with the most MACs." in text
    assert "9 runs: 7 done, 1 failed, 1 pending." in text


def test_a_cluster_gives_a_table_for_each_machine(tmp_path: Path) -> None:
    """And for each batch."""
    runs = [Made(latency_s=0.01), Made(execution=Execution(device="cuda"), latency_s=0.001)]
    text = as_text(frontier_report(reported(tmp_path, runs)))
    assert "Frontier on cpu of A CPU, 2 cores: 1 of 1 run" in text
    assert "Frontier on cuda of" in text


def test_json_has_the_frontier_in_base_units(tmp_path: Path) -> None:
    """Seconds, bytes, shares; each run with its settings and its cost."""
    found = reported(tmp_path, SAMPLE, [(0, 0.01), (30, 0.012)])
    assert found.counts == StatusCounts(done=7, failed=1, pending=1)
    (bench,) = found.frontier
    assert (bench.machine, bench.device, bench.batch) == ("A CPU, 2 cores", "cpu", 1)
    assert len(found.runs) == len(SAMPLE)
    assert {one.key: one for one in found.runs if one.on_frontier} == {one.key: one for one in bench.runs}
    last = bench.runs[-1]
    assert last.latency_s
    assert last.latency_s.ci95
    assert last.latency_s.median == 0.030
    assert last.latency_s.ci95[0] < 0.030 < last.latency_s.ci95[1]
    assert last.corrected_s == pytest.approx(0.025)
    assert last.settings.width_mult == 1.0
    assert last.input.height == 128
    assert last.cost.planned_memory_bytes == SAMPLE[FRONTIER[-1]].planned.figures.memory_bytes
    assert found.baseline_moved[0].drift == pytest.approx(1.2)


def test_without_drift_there_are_no_corrected_times(tmp_path: Path) -> None:
    """No column would repeat the median."""
    found = reported(tmp_path, SAMPLE, [(0, 0.01), (30, 0.0101)])
    assert not found.baseline_moved
    assert all(one.corrected_s is None for one in found.runs)


def test_baseline_runs_of_other_sweeps_do_not_count(tmp_path: Path) -> None:
    """Drift is that of the sweeps of the report's runs."""
    make_store(tmp_path / "runs.db", SAMPLE[:1])
    path = make_store(tmp_path / "runs.db", SAMPLE[1:2], [(0, 0.01), (30, 0.02)])
    first, second = (read(path, sweep=sweep) for sweep in (1, 2))
    assert (len(first.baseline_moved), len(second.baseline_moved)) == (0, 1)


@needs("plotly")
def test_few_samples_have_no_interval(tmp_path: Path) -> None:
    """The table has none, JSON has null, and the plots have no bars."""
    found = reported(tmp_path, [replace(SAMPLE[0], samples=5)])
    latency = found.frontier[0].runs[0].latency_s
    assert latency
    assert latency.ci95 is None
    assert "±95 %" not in as_text(frontier_report(found))
    clouds = [one for one in frontier_figure(found).data if one.meta["kind"] == "runs"]
    assert [one.error_y.array for one in clouds] == [(0.0,)]


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    """Instead of an empty table."""
    assert "no runs yet" in as_text(frontier_report(reported(tmp_path, ())))


def test_without_a_measured_run_there_is_no_frontier(tmp_path: Path) -> None:
    """And the report says so."""
    text = as_text(frontier_report(reported(tmp_path, SAMPLE[7:])))
    assert text == "2 runs: 1 failed, 1 pending. There is no frontier before a run is measured.\n"


def test_runs_that_do_not_differ_are_named_by_their_settings(tmp_path: Path) -> None:
    """By those that are not the default; so is a single run."""
    assert reported(tmp_path, SAMPLE[:1]).runs[0].name == "width_mult 0.35"


@needs("plotext")
@pytest.mark.parametrize("width", [80, 140])
def test_the_plot_is_as_wide_as_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """At most 80 columns, with a symbol for each runtime, filled on the frontier; COLUMNS does not matter."""
    monkeypatch.setenv("COLUMNS", "60")
    plot = TerminalPlot([one for one in reported(tmp_path, SAMPLE).runs if one.latency_s], "macs")
    screen = Console(file=StringIO(), width=width, force_terminal=True)
    print_report([plot], screen)
    text = screen.file.getvalue() if isinstance(screen.file, StringIO) else ""
    assert "\x1b[" in text
    plain = Console(file=StringIO(), width=width)
    print_report([plot], plain)
    lines = plain.file.getvalue().splitlines() if isinstance(plain.file, StringIO) else []
    assert max(map(len, lines)) == 80
    assert "\x1b[" not in "".join(lines)
    assert "".join(lines[:-1]).count("●") == len(FRONTIER)
    assert lines[-1].split() == ["●○", "channels-last", "■□", "eager"]


@needs("plotext")
def test_one_run_can_be_plotted(tmp_path: Path) -> None:
    """Though it spans no range."""
    text = as_text(frontier_report(reported(tmp_path, SAMPLE[:1])))
    assert text.count("●") == 2


def test_without_plotext_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables do not need it."""
    monkeypatch.setitem(sys.modules, "plotext", None)
    text = as_text(frontier_report(reported(tmp_path, SAMPLE)))
    assert HINT in text
    assert "Frontier on cpu" in text


def test_an_axis_has_round_numbers_and_not_too_many() -> None:
    """1, 2 and 5 of each power of ten where they fit."""
    assert round_numbers(0.9, 110, 7) == pytest.approx([1, 2, 5, 10, 20, 50, 100])
    assert round_numbers(0.9, 110, 3) == pytest.approx([1, 10, 100])
    assert len(round_numbers(1e-6, 1e6, 5)) <= 5
    assert round_numbers(1.21, 1.22, 5) == [1.21, 1.22]
    assert [short(one) for one in ("20.00 ms", "1.500 G", "300", "10")] == ["20 ms", "1.5 G", "300", "10"]


def test_sizes_are_in_the_table(tmp_path: Path) -> None:
    """Height first."""
    runs = [Made(1.0, Size(64, 96), EAGER, 0.01)]
    assert "64x96" in as_text(frontier_report(reported(tmp_path, runs)))

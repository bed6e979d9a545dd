"""What every report looks like on a screen: in eighty columns as in the files of `outputs`, and in any other whole."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from rich.console import Console

from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import Document, to_json
from mnfpn_cli.documents.report import RecommendDocument
from mnfpn_cli.documents.sweep import ExpectedRecord, MovedRecord
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.report.terminal.bench import bench_tables
from mnfpn_cli.report.terminal.frontier import TerminalPlot, frontier_report
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.profile import layers_tables
from mnfpn_cli.report.terminal.recommend import recommend_report
from mnfpn_cli.report.terminal.runs import list_report, show_report
from mnfpn_cli.report.terminal.runtimes import runtimes_tables
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.shapes import shapes_tables
from mnfpn_cli.report.terminal.summary import counts_tables
from mnfpn_cli.report.terminal.sweep import moved_lines, result_warnings, space_report, swept_report
from mnfpn_cli.report.terminal.tables import Report
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Budget, Planned, PlannedSpace
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep.command_lines import after_sweep
from mnfpn_cli.sweep.frontier import scored_runs
from mnfpn_cli.sweep.objective import Objective, choose_objective
from mnfpn_cli.sweep.recommend import recommend, recommend_document
from mnfpn_cli.sweep.report import report_document
from mnfpn_cli.sweep.run_records import list_document, newest_first, show_document
from mnfpn_cli.sweep.start import Chosen, space_document
from mnfpn_cli.sweep.state import Swept, swept_document
from tests.bench.made import benchmark, key, missing, timed
from tests.report.stores import EAGER, Made, at, make_store
from tests.report.test_compare import FASTER, RESULT, changed, tables
from tests.report.test_counts import COUNTS
from tests.report.test_layers import PROFILE
from tests.report.test_runtimes import machine
from tests.snapshots import check

if TYPE_CHECKING:
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep

Parsed = TypeVar("Parsed", bound=Document)
OUTPUTS = Path(__file__).parent / "outputs"

CHANNELS_LAST = Execution(device="cpu", runtime="channels-last")
SMALL, LARGE = Size(320, 320), Size(600, 900)
SWEPT = (
    Made(0.35, SMALL, CHANNELS_LAST, 0.0101, channels=64),
    Made(0.35, LARGE, EAGER, 0.0612, channels=64, minute=12),
    Made(0.5, SMALL, EAGER, 0.0143, channels=128),
    Made(0.75, SMALL, CHANNELS_LAST, 0.0204),
    Made(0.75, LARGE, CHANNELS_LAST, 0.1215, channels=128, samples=5),
    Made(1.0, LARGE, EAGER, 0.7372, minute=30),
    Made(1.0, SMALL, EAGER, 0.7001, minute=31),
    Made(1.0, LARGE, CHANNELS_LAST, reason="out of memory: 121.6 MiB were asked for, and 64.25 MiB are left"),
    Made(0.5, LARGE, EAGER),
)
COMMAND = (
    "mnfpn sweep --width-mult 0.35,0.5,0.75,1.0 --pyramid-channels 64,128,256 --size 320x320,600x900 "
    "--runtime eager,channels-last --device cpu --max-latency 800ms"
)


class Stored:
    """The content of a store of these runs."""

    def __init__(self, folder: Path, made: Sequence[Made]) -> None:
        with open_store(str(make_store(folder / "runs.db", made, [(0, 0.01), (30, 0.012)], COMMAND))) as store:
            self.runs: list[StoredRun] = read_runs(store)
            self.sweeps: Sequence[Sweep] = [replace(one, started=at(0)) for one in read_sweeps(store)]
            self.baselines: Sequence[BaselineTiming] = read_baselines(store)

    @property
    def objective(self) -> Objective:
        """What the runs are compared by."""
        return choose_objective(self.runs, None)

    def without_keys(self, text: str) -> str:
        """A text whose keys, hashes of all that there is to settings, are numbers."""
        for index, one in enumerate(self.runs):
            text = text.replace(one.key, f"{index:032}").replace(one.key[:8], f"{index:08}")
        return text


def read_back(document: Parsed) -> Parsed:
    """The document, parsed from its JSON: a table has nothing but that."""
    return type(document).model_validate_json(to_json(document))


def report_of(stored: Stored) -> Report:
    """`mnfpn report`, without the plot: plotext may be missing."""
    found = frontier_report(report_document(stored.runs, stored.baselines, stored.objective))
    return [item for item in found if not isinstance(item, TerminalPlot)]


def recommended(stored: Stored, most_s: float) -> RecommendDocument:
    """The document of it."""
    budget = Budget(latency_s=most_s)
    found = recommend(scored_runs(stored.runs, stored.baselines, stored.objective), budget)
    given = {"max_latency": f"{most_s}s"}
    return recommend_document(found, stored.objective, budget, given, [])


def recommend_of(stored: Stored, most_s: float = 0.1) -> Report:
    """`mnfpn recommend`."""
    return recommend_report(read_back(recommended(stored, most_s)))


def list_of(stored: Stored) -> Report:
    """`mnfpn runs list`."""
    runs = newest_first(stored.runs)
    return list_report(read_back(list_document("runs.db", runs, None, stored.sweeps, stored.baselines)))


def show_of(stored: Stored) -> Report:
    """`mnfpn runs show`, of a run that was measured."""
    (run,) = (run for run in stored.runs if (run.latency_s or 0) > 0.72)
    results = [run.result] if run.result else []
    return show_report(read_back(show_document(run, results, stored.baselines, ())))


def swept_of(stored: Stored) -> Report:
    """The last report of `mnfpn sweep`."""
    swept = Swept("runs.db", tuple(stored.sweeps), tuple(stored.runs), tuple(stored.baselines), ())
    warnings = result_warnings(swept.reused, swept.moved)
    return swept_report(read_back(swept_document(swept, after_sweep("runs.db"), warnings)))


OF_STORES: dict[str, Callable[[Stored], Report]] = {
    "report": report_of,
    "recommend": recommend_of,
    "runs-list": list_of,
    "runs-show": show_of,
    "swept": swept_of,
}


def space_of(planned: Sequence[Planned]) -> Report:
    """`mnfpn sweep --dry-run`."""
    space = PlannedSpace(list(planned), Counter({"stages[3].stride: must be 1 or 2, got 3": 12}), Counter(), 1)
    expected = ExpectedRecord(runs=9, baselines=2, each_s=12.5, most_s=90.0)
    return space_report(read_back(space_document(Chosen(planned, space, "all", COMMAND), expected)))


def bench_screen() -> Report:
    """`mnfpn bench`: many runs, and a run that was not run."""
    times = [0.1 + k / 1e5 for k in range(30)]
    rows = [
        timed([*times, 0.3], key(runtime, batch=batch), difference=1.9e-6, added_memory_bytes=2**27)
        for runtime in ("eager", "channels-last", "onnxruntime")
        for batch in (1, 8)
    ]
    many = timed(times * 30, key("openvino"), difference=0.0, added_memory_bytes=2**30)
    result = benchmark(*rows, many, missing(key("cuda-graph"), "runs on CUDA alone"))
    return bench_tables(bench_document(result, FromSettings(NetworkSettings())))


def compare_of() -> Report:
    """`mnfpn compare`: sides with long names, one run and several."""
    slow = changed(FASTER, name="channels-last on cpu, batch 1, 600x900, float32")
    result = changed(RESULT, a=changed(RESULT.a, name="results/2026-01-01/a-machine-with-a-long-name/w1.json"))
    return [*tables(result), *tables(changed(result, runs=(FASTER, slow)))]


def shapes_of() -> Report:
    """`mnfpn shapes`."""
    settings, size = NetworkSettings(), Size(600, 900)
    dtype: DType = "float32"
    found = network_shapes(plan_network(settings), network_input(settings, size))
    return shapes_tables(shapes_document(settings, [found], dtype, verified=True))


OTHERS: dict[str, Callable[[], Report]] = {
    "space": lambda: space_of([one.planned for one in SWEPT]),
    "bench": bench_screen,
    "by-layer": lambda: layers_tables("Where the time goes", PROFILE),
    "compare": compare_of,
    "counts": lambda: counts_tables(COUNTS),
    "runtimes": lambda: runtimes_tables(read_back(machine(("cpu", "cuda:0"), "ONEDNN_MAX_CPU_ISA=AVX2"))),
    "shapes": shapes_of,
}
WIDTHS = (60, 72, 80, 100, 120, 200)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A store whose runs differ in all that runs of a usual sweep differ in."""
    return Stored(tmp_path_factory.mktemp("store"), SWEPT)


@pytest.fixture(params=[*OF_STORES, *OTHERS])
def named(request: pytest.FixtureRequest, stored: Stored) -> tuple[str, Report]:
    """Each report with its name."""
    name = request.param
    return name, OF_STORES[name](stored) if name in OF_STORES else OTHERS[name]()


def on_screen(report: Report, width: int) -> str:
    """The report on a terminal of this width, without colours."""
    buffer = StringIO()
    print_report(report, Console(file=buffer, width=width, height=25, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in as_options(buffer.getvalue()).splitlines())


def test_a_report_is_as_in_its_file_in_eighty_columns(named: tuple[str, Report], stored: Stored) -> None:
    """A change of any output shows in the commit that makes it."""
    name, report = named
    check(OUTPUTS / f"{name}.txt", stored.without_keys(on_screen(report, 80)))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_fits_any_screen(named: tuple[str, Report], width: int) -> None:
    """But for commands, which only the terminal breaks, so that they can be copied whole."""
    _, report = named
    long = [line for line in on_screen(report, width).splitlines() if len(line) > width]
    assert [line for line in long if "mnfpn " not in line] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_lost_or_broken(named: tuple[str, Report], width: int) -> None:
    """Every word with a digit that a file has is on any screen, too."""
    _, report = named
    in_file, shown = (
        {word.rstrip(",.;:") for word in text.split()}
        for text in (as_options(as_text(report)), on_screen(report, width))
    )
    assert [word for word in in_file - shown if re.search(r"\d", word) and len(word) <= 16] == []


def test_a_file_has_a_row_on_a_line(stored: Stored) -> None:
    """However long, and with the names of networks whole."""
    for report in (report_of(stored), list_of(stored)):
        lines = as_text(report).splitlines()
        assert sum("width_mult 0.75, channels 128" in line and "117.9 ms" in line for line in lines) == 1


@pytest.mark.parametrize("of", [report_of, recommend_of, list_of])
@pytest.mark.parametrize(
    ("made", "name"),
    [
        (Made(0.75, SMALL, latency_s=0.02, samples=5), "width_mult 0.75"),
        (Made(1.0, SMALL, latency_s=0.02, samples=5), "the default network"),
    ],
)
def test_a_single_run_is_one_row_and_named_as_among_others(
    tmp_path: Path, of: Callable[[Stored], Report], made: Made, name: str
) -> None:
    """What it is stands below the table, where nothing is broken; a column that is empty is left out."""
    report = of(Stored(tmp_path, [made]))
    lines = on_screen(report, 80).splitlines()
    assert sum("19.40 ms" in line for line in lines) == 1
    (common,) = (line for line in lines if line.startswith("The run: "))
    assert name in common
    assert "size 320x320" in common
    header = next(line for line in lines if "Median" in line)
    assert "Network" not in header
    assert "±95 %" not in header
    assert not any("1 of 1 measured runs" in line for line in lines)


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (18.817, "at worst it took 18.82 × its first time (2026-11-21 10:30:00 UTC, on here)."),
        (0.4, "at worst it took 0.40 × its first time (2026-11-21 10:30:00 UTC, on here)."),
        (1.2, "at worst it was 20.0 % slower than at first (2026-11-21 10:30:00 UTC, on here)."),
        (0.9, "at worst it was 10.0 % faster than at first (2026-11-21 10:30:00 UTC, on here)."),
    ],
)
def test_a_large_drift_is_a_factor_and_a_small_one_is_in_per_cent(drift: float, words: str) -> None:
    """With the moment in whole seconds."""
    (line,) = moved_lines([MovedRecord(worker="here", finished=at(30), drift=drift)])
    assert line.startswith(f"the baseline run moved: {words}")


def test_what_all_runs_have_in_common_stands_once_below_them(tmp_path: Path) -> None:
    """It needs no column of the table, which has no room to spare."""
    runs = [replace(one, execution=EAGER) for one in (*SWEPT[:2], Made(latency_s=0.9))]
    text = as_text(report_of(Stored(tmp_path, runs)))
    assert "All of these: width_mult 0.35, pyramid.channels 64, runtime eager." in text
    assert text.count("eager") == text.count("width_mult") == 1


def test_without_a_run_in_the_budget_the_fastest_is_named(stored: Stored) -> None:
    """With its time, its settings, its size and its runtime."""
    fastest = "none of 7 measured runs is within --max-latency 0.001s; fastest 10.10 ms: "
    (line,) = (line for line in as_options(as_text(recommend_of(stored, 0.001))).splitlines() if "fastest" in line)
    assert fastest in line
    assert line.endswith("width_mult 0.35, channels 64, 320x320, channels-last.")


@pytest.mark.parametrize("of", [recommend_of, list_of])
def test_runs_that_differ_only_in_the_threads_asked_for_are_told_apart(
    tmp_path: Path, of: Callable[[Stored], Report]
) -> None:
    """Also where both ran with the same: one had them from torch."""
    more = Made(1.0, LARGE, replace(EAGER, threads=2), 0.03)
    text = as_text(of(Stored(tmp_path, [Made(1.0, SMALL, latency_s=0.02), more])))
    (header,) = (line for line in text.splitlines() if " Median" in line)
    assert "threads" in text
    assert ("threads" in header) or ("Network" in header)

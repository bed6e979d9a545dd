"""`mnfpn sweep` and `mnfpn recommend` at the prompt."""

import csv
import json
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import select, update

from mnfpn_cli.cli.sweep_progress import sweep_bar
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store import rows as tables
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import read_sweeps
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.state import State
from tests.conftest import Mnfpn
from tests.processes import signals_by_default
from tests.report.stores import CHANNELS_LAST, Made, make_store
from tests.sweep.pools import FakePool, failed, no_graphs, steady

QUICK = ("--passes", "6", "--warmup", "1")
SMALL = ("--width-mult", "0.35,0.5,0.75", "--size", "64x64,64x96", "--device", "cpu", "--threads", "1")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def results(store: str) -> Counter[str]:
    """How many results each run of a store has."""
    with open_store(store) as opened:
        return Counter(opened.read(lambda connection: connection.execute(select(tables.results.c.key)).scalars().all()))


def put_plan(store: Store, plan: dict[str, object]) -> None:
    """Change what the only sweep of a store was begun with."""
    store.write(lambda connection: connection.execute(update(tables.sweeps).values(plan=plan)))


BAD: list[tuple[list[str], str]] = [
    (["--width-mult", "0.5"], "--store: must be given, for the results: an SQLite file or PostgreSQL URL"),
    (["--resume"], "--store: must be given"),
    (["--resume", "--store", "none.db"], "--store: must be a store, but there is no file 'none.db'"),
    (
        ["--resume", "--store", "x.db", "--size", "64", "--max-macs", "1G", "--passes", "5", "--by-layer"],
        "--size, --max-macs, --passes, --by-layer: cannot be used with --resume, which keeps the options of each sweep",
    ),
    (
        ["--resume", "--store", "x.db", "--again", "--dry-run"],
        "--dry-run, --again: cannot be used with --resume, which measures what is left",
    ),
    (["--resume", "--store", "x.db", "--run-timeout", "0"], "--run-timeout: must be 1 to 1000000 seconds, got 0"),
    (["--store", "x.db", "--accelerator", "H100"], "--accelerator: requires --ray"),
    (
        ["--store", "x.db", "--measure", "some"],
        "--measure: must be all, none or a number of runs, got 'some'",
    ),
    (["--store", "x.db", "--measure", "0"], "--measure: must be all, none or a number of runs, got '0'"),
    (["--measure", "none", "--width-mult", "wide"], "--width-mult: must be numbers separated by commas, got 'wide'"),
    (["--measure", "none", "--width-mult", "1,,2"], "--width-mult: must have a value before and after each comma"),
    (
        ["--measure", "none", "--set", "pyramid.chanels=64"],
        "--set pyramid.chanels: unknown key; did you mean 'pyramid.channels'?",
    ),
    (["--measure", "none", "--set", "pyramid.channels"], "--set: must be key=value with a dotted key"),
    (["--measure", "none", "--set", "pyramid.channels="], "--set pyramid.channels: must have a value"),
    (["--measure", "none", "--runtime", "tensorrt"], "--runtime: must be one of eager, "),
    (["--measure", "none", "--size", "64,6x"], "--size: must be HxW in pixels, as 600x900 or 512, got '6x'"),
    (["--measure", "none", "--space", "none.json"], "none.json: no such file"),
    (
        ["--measure", "none", "--max-macs", "many"],
        "--max-macs: must be a number of 1 or more, as 5G, 5e9 or 4000000, got 'many'",
    ),
    (["--store", "x.db", "--max-latency", "1ns"], "--max-latency: must be a duration above 0 in s, ms, us or µs, as 3"),
    (
        ["--measure", "none", "--passes", "5", "--warmup", "1", "--by-layer", "--run-timeout", "9", "--again"],
        "--passes, --warmup, --by-layer, --run-timeout, --again: cannot be used without --store",
    ),
    (
        ["--measure", "none", "--baseline-every", "9", "--retry-failed", "--max-latency", "9ms"],
        "--baseline-every, --retry-failed, --max-latency: cannot be used without --store, since nothing is measured",
    ),
    (
        ["--dry-run", "--passes", "5", "--max-latency", "9ms"],
        "--max-latency: cannot be used without --store, since nothing is measured",
    ),
    (["--measure", "none", "--pyramid-channels", "0"], "--pyramid-channels: must be at least 1, got 0"),
    (
        ["--measure", "none", "--width-mult", "1", "--set", "width_mult=2"],
        "--width-mult, --set width_mult: must not both give choices for one key; give all choices with one of them",
    ),
    (["--measure", "none", "--set", "pyramid.levels=p3,p4"], "--set pyramid.levels: 'p3,p4' is one list in other"),
    (
        ["--measure", "none", "--set", "pyramid.smooth=none,seperable"],
        "--set pyramid.smooth: must be 'conv', 'separable' or 'none', got 'seperable'; did you mean 'separable'?",
    ),
    (
        ["--measure", "none", "--set", "backbone.kind=resnet,mobilenet_v2", "--set", 'backbone.blocks=[1,1],"x"'],
        "--set backbone.blocks: must be a list, got 'x'",
    ),
    (["--store", "x.db", "--run-timeout", "0"], "--run-timeout: must be 1 to 1000000 seconds, got 0"),
    (["--store", "x.db", "--passes", "5", "--precision", "1%"], "--precision: cannot be used with --passes"),
    (
        ["--store", ":memory:", "--dry-run"],
        "--store: must be a file: a database in memory would be lost, got ':memory:'",
    ),
    (["--store", "mysql://host/x"], "--store: must be a file, or a URL of sqlite or postgresql+psycopg, got mysql"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: " ".join(value)[:50])
def test_bad_input_is_refused(mnfpn: Mnfpn, arguments: list[str], message: str) -> None:
    """Before anything is measured, with the option, the rule and the value; no store is made."""
    outcome = mnfpn("sweep", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"error: {message}" in outcome.problems
    assert list(Path().iterdir()) == []


def test_a_million_million_runs_are_refused_with_the_count(mnfpn: Mnfpn) -> None:
    """A range in a file can say them in three lines."""
    axis = {"from": 1, "to": 10_000}
    Path("space.json").write_text(
        json.dumps({"in_channels": axis, "pyramid": {"channels": axis}, "stem_channels": axis})
    )
    outcome = mnfpn("sweep", "--space", "space.json", "--measure", "none")
    assert outcome.code == 2
    assert "the space: must have at most 1,000,000 runs, got 1,000,000,000,000" in outcome.problems


def test_without_measuring_a_sweep_is_a_table(mnfpn: Mnfpn) -> None:
    """What is invalid and what is over budget is counted; networks of it are listed; nothing is written."""
    arguments = (
        "--width-mult",
        "0.5,1.0",
        "--set",
        "pyramid.smooth=conv,separable,none",
        "--set",
        "pyramid.merge=concat",
    )
    outcome = mnfpn("sweep", *arguments, "--max-parameters", "3M", "--measure", "none")
    assert outcome.code == 0
    assert "4 valid" in outcome.out
    assert "--set pyramid.smooth: must not be 'none' with pyramid.merge 'concat'" in outcome.out
    assert "2 by --max-parameters" in outcome.out
    document = json.loads(mnfpn("sweep", *arguments, "--max-parameters", "3M", "--measure", "none", "--json").out)
    assert document["runs"] == 4
    assert [one["runs"] for one in document["invalid"]] == [2]
    assert document["over_budget"] == {"max_parameters": 2}
    assert all(one["cost"]["parameters"] <= 3_000_000 for one in document["sample"])
    assert list(Path().iterdir()) == []


def test_presets_are_distinguished_by_their_names(mnfpn: Mnfpn) -> None:
    """Rather than by all that they differ in, as long as nothing else of them does."""
    presets = ("sweep", "--preset", "fpnssd", "--preset", "retina-fpn", "--measure", "none")
    assert {"fpnssd", "retina-fpn"} <= {
        line.split(" ")[1] for line in _preset_rows(mnfpn(*presets, "--size", "64").out)
    }
    assert _preset_rows(mnfpn(*presets, "--width-mult", "0.5,1.0").out) == []


def _preset_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("preset ")]


@pytest.mark.slow
def test_runs_can_be_put_down_now_and_measured_later(mnfpn: Mnfpn) -> None:
    """All within the budget, as pending; going on with the sweep measures them."""
    outcome = mnfpn("sweep", "--width-mult", "0.35", "--size", "64", *QUICK, "--measure", "none", "--store", "runs.db")
    assert outcome.code == 0
    assert "1 run to measure later: mnfpn sweep --resume --store runs.db" in outcome.problems
    with open_store("runs.db") as store:
        assert [one.status for one in read_runs(store)] == ["pending"]
    assert "timed 2 times" in mnfpn("sweep", "--resume", "--store", "runs.db").out


def test_only_what_is_left_is_to_measure(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a dry run, in a sweep that is stored, and in one that has nothing left; one run is one run."""
    quickly(monkeypatch)
    stored = ("--runtime", "eager,fused", "--store", "runs.db")
    assert mnfpn("sweep", "--size", "64", "--store", "runs.db").code == 0
    dry = mnfpn("sweep", "--size", "64", *stored, "--dry-run").out
    assert "to measure  1 of 2 (--measure all)" in dry
    assert ": 1 run and 2 times of the baseline run" in dry
    assert "cannot run" not in dry
    put_down = mnfpn("sweep", "--size", "64", *stored, "--measure", "none")
    assert put_down.problems.startswith("warning: 1 run to measure later: mnfpn sweep --resume ")
    assert mnfpn("sweep", "--resume", "--store", "runs.db").code == 0
    for again in (("--resume", "--store", "runs.db"), ("--size", "64", *stored, "--measure", "none")):
        assert mnfpn("sweep", *again).problems == "warning: nothing to resume in 'runs.db': 2 runs measured\n"
    every = mnfpn("sweep", "--size", "64", "--runtime", "all", "--dry-run").out
    assert "less those whose runtime cannot run there" in every


def test_where_nothing_was_measured_no_run_is_advised(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no frontier yet, and nothing to take."""
    quickly(monkeypatch, lambda _: failed("too large"))
    outcome = mnfpn("sweep", "--size", "64", "--store", "runs.db")
    assert outcome.code == 1
    assert "mnfpn recommend" not in outcome.out
    again = mnfpn("sweep", "--resume", "--store", "runs.db")
    assert "nothing to resume in 'runs.db': 1 run failed (--retry-failed tries again)" in again.problems


def test_a_dry_run_says_how_many_runs_and_how_long(mnfpn: Mnfpn) -> None:
    """It makes no store, and what is measured already does not count."""
    arguments = ("sweep", *SMALL, *QUICK, "--store", "runs.db")
    outcome = mnfpn(*arguments, "--dry-run")
    assert outcome.code == 0
    assert "6 (--measure all)" in outcome.out
    assert "6 runs and 2 times of the baseline run" in outcome.out
    assert not Path("runs.db").exists()


def test_a_dry_run_warns_of_results_of_other_options(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the sweep itself would, which takes them as they are."""
    quickly(monkeypatch)
    arguments = ("sweep", "--size", "64", "--store", "runs.db")
    assert mnfpn(*arguments, "--passes", "6").code == 0
    warning = "1 result is of another sweep, measured with --passes 6, not with --passes 7"
    dry = mnfpn(*arguments, "--passes", "7", "--dry-run")
    assert warning in " ".join(dry.out.split())
    (reused,) = json.loads(mnfpn(*arguments, "--passes", "7", "--dry-run", "--json").out)["expected"]["reused"]
    assert reused == {"runs": 1, "measured_with": "`passes` 6", "wanted": "`passes` 7"}
    assert "another sweep" not in mnfpn(*arguments, "--passes", "6", "--dry-run").out


def test_many_failures_are_listed_by_the_command_that_is_printed(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the store, and runs as it is."""
    quickly(monkeypatch, lambda _: failed("too large"))
    sizes = ",".join(str(64 + 32 * k) for k in range(12))
    document = json.loads(mnfpn("sweep", "--size", sizes, "--store", "my runs.db", "--json").out)
    assert document["store"] == "my runs.db"
    program, *words = shlex.split(document["commands"]["list_failed"])
    assert program == "mnfpn"
    assert "12 runs in" in mnfpn(*words).out


@pytest.mark.slow
def test_a_sweep_that_is_killed_twice_ends_with_every_run_once(mnfpn: Mnfpn) -> None:
    """SIGKILL comes at any moment; what was stored is there, and resuming measures the rest, and no run twice."""
    command = [sys.executable, "-m", "mnfpn_cli", "sweep"]
    begin = [*command, *SMALL, *QUICK, "--store", "runs.db"]
    for arguments, enough in ((begin, 1), ([*command, "--resume", "--store", "runs.db"], 3)):
        running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and (not Path("runs.db").exists() or _done() < enough):
            time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert set(results("runs.db").values()) == {1}
        assert len(results("runs.db")) < 6
    outcome = mnfpn("sweep", "--resume", "--store", "runs.db", "--json")
    assert outcome.code == 0, outcome.problems
    document = json.loads(outcome.out)
    assert document["counts"] == {"done": 6, "failed": 0, "pending": 0}
    assert len(document["keys"]) == 6
    assert all(one["measuring"]["max_latency_s"] is None for one in document["sweeps"])
    assert set(results("runs.db").values()) == {1}
    assert len(results("runs.db")) == 6
    again = mnfpn("sweep", *SMALL, *QUICK, "--store", "runs.db")
    assert again.code == 0, "a repeated sweep finds everything measured"
    assert set(results("runs.db").values()) == {1}
    _recommend(mnfpn)


def _done() -> int:
    try:
        with open_store("runs.db") as store:
            return len(read_runs(store, status="done"))
    except Exception as error:
        if "empty" in str(error) or "no tables" in str(error):  # it is being made
            return 0
        raise


def _recommend(mnfpn: Mnfpn) -> None:
    """The best run under a budget, by MACs where there are no scores, and what to do with it."""
    outcome = mnfpn("recommend", "--store", "runs.db", "--max-latency", "10s", "--device", "cpu")
    assert outcome.code == 0
    assert "6 of 6 measured runs are within --max-latency 10s" in outcome.out
    assert "the first has the most MACs" in outcome.out
    assert "No measured run has more MACs, at any cost." in outcome.out
    assert "Nothing has a score" in outcome.out
    assert "inspect  mnfpn summary --width-mult 0.75 --size 64x96" in outcome.out
    with open_store("runs.db") as store:
        fastest, *_, slowest = sorted(one.latency_s or 0 for one in read_runs(store))
    limit = f"{(fastest + slowest) / 2 * 1e3:.6f}ms"
    document = json.loads(mnfpn("recommend", "--store", "runs.db", "--max-latency", limit, "--json").out)
    (found,) = document["recommendations"]
    best = found["picks"][0]
    assert (best["corrected_s"] or best["latency_s"]["median"]) <= (fastest + slowest) / 2
    scores = [one["score"]["value"] for one in found["picks"]]
    assert scores == sorted(scores, reverse=True)
    assert found["step"] is None or found["step"]["score"]["value"] > best["score"]["value"]
    nothing = mnfpn("recommend", "--store", "runs.db", "--max-latency", "1us")
    assert nothing.code == 1
    assert "none of 6 measured runs is within --max-latency 1us" in nothing.out
    assert "error: no measured run is within --max-latency 1us" in nothing.problems
    assert mnfpn("recommend", "--store", "runs.db").code == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--runtime", "fast"), "--runtime: must be one of eager, "),
        (("--device", "gpu"), "--device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
    ],
)
def test_a_recommendation_for_what_there_is_not_is_wrong_usage(
    mnfpn: Mnfpn, option: tuple[str, str], message: str
) -> None:
    """With the names that there are, before the store is read; several runtimes may be named."""
    outcome = mnfpn("recommend", "--store", "none.db", "--max-latency", "1s", *option)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.problems.startswith(f"error: {message}")


BATCHES = [Made(execution=Execution(device="cpu", batch=batch), latency_s=0.01) for batch in (1, 16, 2)]
FAR = "must be one that the store has measured runs of"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--device cuda", f"--device: {FAR} (cpu), got 'cuda'"),
        ("--runtime openvino,fused", f"--runtime: {FAR} (channels-last, eager), got 'openvino,fused'"),
        ("--batch 8", f"--batch: {FAR} (1, 2, 16), got 8"),
        ("--runtime channels-last --batch 2", f"--batch: {FAR} with --runtime channels-last (1), got 2"),
    ],
)
def test_a_recommendation_among_no_runs_is_wrong_usage(
    mnfpn: Mnfpn, tmp_path: Path, options: str, message: str
) -> None:
    """With the option that leaves none, and what there is."""
    path = make_store(tmp_path / "runs.db", [*BATCHES, Made(execution=CHANNELS_LAST, latency_s=0.02)])
    outcome = mnfpn("recommend", "--store", str(path), "--max-latency", "1s", *options.split())
    assert (outcome.code, outcome.out, outcome.problems) == (2, "", f"error: {message}\n")


def test_a_recommendation_takes_measured_runs(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Without any it says so."""
    path = make_store(tmp_path / "runs.db", [Made()])
    outcome = mnfpn("recommend", "--store", str(path), "--max-latency", "1s")
    assert (outcome.code, outcome.problems) == (1, f"error: --store: no run in '{path}' is measured yet\n")


def test_a_note_is_one_line_in_a_pipe_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """However long it is; a terminal breaks it itself. Of another sweep the same is not printed again."""
    told = set[str]()
    for number in (0, 1):
        with sweep_bar([], told) as tell:
            tell(State(number, 0, notes=("word " * 60,)))
    assert capsys.readouterr().err == f"warning: {'word ' * 60}\n"


def test_what_went_wrong_is_reported_while_it_does_and_not_again_with_the_results(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error; a document has it, too."""
    quickly(monkeypatch, lambda task: failed("too large") if task.work.input.height == 96 else steady(task))
    outcome = mnfpn("sweep", "--size", "64,96", "--store", "runs.db")
    assert outcome.problems.count("the baseline run (") == 1
    assert "the baseline run (" not in outcome.out
    again = mnfpn("sweep", "--size", "64,96", "--store", "runs.db", "--again", "--json")
    assert any("the baseline run (" in line for line in json.loads(again.out)["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_between_two_runs(number: signal.Signals) -> None:
    """It says how many are left and how to go on; what was measured stays, nothing is claimed."""
    command = [sys.executable, "-m", "mnfpn_cli", "sweep", *SMALL, *QUICK, "--store", "runs.db"]
    with signals_by_default():
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and (not Path("runs.db").exists() or _done() < 1):
        time.sleep(0.1)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number, err
    assert "left; resume with: mnfpn sweep --resume --store runs.db" in err
    assert "done" in out
    with open_store("runs.db") as store:
        claimed = store.read(lambda connection: connection.execute(select(tables.runs.c.claimed_by)).scalars().all())
    assert set(claimed) == {None}


def test_a_sweeps_command_is_kept_without_the_store(mnfpn: Mnfpn) -> None:
    """It can be typed again; a server's password is in no row."""
    arguments = ("--width-mult", "0.35", "--size", "64,96", "--max-macs", "5G", "--by-layer", *QUICK)
    numbers = ("--run-timeout", "1", "--max-time", "5", "--precision", "0.015")
    mnfpn("sweep", *arguments, "--measure", "none", "--store", "runs.db")
    mnfpn("sweep", "--size", "64", *numbers, "--measure", "none", "--store", "runs.db")
    with open_store("runs.db") as store:
        first, second = read_sweeps(store)
    words = "--size 64,96 --max-macs 5G --measure none --by-layer --passes 6 --warmup 1"
    assert first.plan.command == f"mnfpn sweep --width-mult 0.35 {words}"
    assert second.plan.command == (
        "mnfpn sweep --size 64 --measure none --run-timeout 1 --precision 0.015 --max-time 5"
    )
    assert second.plan.measuring.sampling == SamplingRecord(precision=0.015, max_time_s=5.0)


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("here", 2, "--ray: must be auto, local, ray://host:port or host:port, got 'here'"),
        ("127.0.0.1:1", 1, "--ray 127.0.0.1:1: "),
        ("ray://127.0.0.1:1", 1, "--ray ray://127.0.0.1:1: "),
    ],
)
def test_a_cluster_that_does_not_answer_leaves_no_sweep(mnfpn: Mnfpn, address: str, code: int, message: str) -> None:
    """It is asked before anything is stored, so that nothing is left to resume."""
    outcome = mnfpn("sweep", "--size", "64", *QUICK, "--ray", address, "--store", "runs.db")
    assert outcome.code == code
    assert f"error: {message}" in outcome.problems
    with open_store("runs.db") as store:
        assert read_sweeps(store) == []


def test_a_store_is_not_written_over(mnfpn: Mnfpn) -> None:
    """It holds what took hours to measure, whichever command is asked to."""
    begin = ("sweep", "--width-mult", "0.35", "--size", "64", *QUICK, "--measure", "none", "--store", "runs.db")
    assert mnfpn(*begin).code == 0
    for command in (
        begin,
        ("report", "--store", "runs.db"),
        ("runs", "export", "--store", "runs.db", "--format", "csv"),
    ):
        outcome = mnfpn(*command, "--output", "runs.db")
        assert outcome.code == 2
        assert "--output: must not be a store, but 'runs.db' is an SQLite database" in outcome.problems
    with open_store("runs.db") as store:
        assert len(read_runs(store)) == 1


def quickly(monkeypatch: pytest.MonkeyPatch, measure: Callable[[Task], Outcome] = steady) -> FakePool:
    """Have sweeps measure on a machine that takes no time."""
    pool = FakePool(measure)
    monkeypatch.setattr("mnfpn_cli.sweep.case.local_pool", lambda: nullcontext(pool))
    return pool


def slow_at_64(task: Task) -> Outcome:
    """One size takes too long, until that is given more time."""
    slow = task.work.input.height == 64 and task.timeout_s < 900
    return failed(f"it took more than {task.timeout_s:g} s (--run-timeout)") if slow else steady(task)


FAILING = ("sweep", "--size", "64,96", "--store", "runs.db")


def test_runs_that_fail_are_an_error_after_the_results(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in bench: exit code 1, and a line a reason with how many there are; with --json, too."""
    quickly(monkeypatch, slow_at_64)
    for arguments in (("--run-timeout", "10"), ("--json",)):
        outcome = mnfpn(*FAILING, *arguments)
        assert outcome.code == 1
        assert outcome.problems == "error: 1 run failed: it took more than 10 s (--run-timeout)\n"
    assert json.loads(outcome.out)["counts"] == {"done": 1, "failed": 1, "pending": 0}


@pytest.mark.parametrize("how", [FAILING, ("sweep", "--resume", "--store", "runs.db")])
def test_what_failed_is_tried_again_with_more_time(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    """By a repeated sweep and by one that goes on: how long to wait is not of the start."""
    quickly(monkeypatch, slow_at_64)
    assert mnfpn(*FAILING, "--run-timeout", "10").code == 1
    assert mnfpn(*how, "--retry-failed", "--run-timeout", "20").code == 1
    outcome = mnfpn(*how, "--retry-failed", "--run-timeout", "1000", "--baseline-every", "1", "--json")
    assert (outcome.code, outcome.problems) == (0, "")
    assert json.loads(outcome.out)["counts"] == {"done": 2, "failed": 0, "pending": 0}


def test_runs_of_another_machine_stay_failed(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on here with what failed there would leave them unmeasured, and no longer failed."""
    quickly(monkeypatch, slow_at_64)
    mnfpn(*FAILING, "--run-timeout", "10")
    monkeypatch.setattr("mnfpn_cli.sweep.case.this_machine", lambda: "another CPU, 1 cores")
    assert mnfpn("sweep", "--resume", "--store", "runs.db", "--retry-failed").code == 1
    with open_store("runs.db") as store:
        assert len(read_runs(store, status="failed")) == 1


def test_a_runtime_that_cannot_run_here_is_a_failure_where_it_is_named(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where all are asked for: it is listed, and counted apart from what failed; as in bench."""
    quickly(monkeypatch, no_graphs)
    every = mnfpn("sweep", "--size", "64", "--runtime", "all", "--store", "all.db")
    assert (every.code, every.problems) == (0, "")
    assert "not run       1: cuda-graph on auto, float32: runs on CUDA alone" in every.out
    assert "failed" not in every.out
    named = mnfpn("sweep", "--size", "64", "--runtime", "eager,cuda-graph", "--store", "some.db", "--json")
    assert named.code == 1
    assert named.problems == "error: 1 run not run: cuda-graph on auto, float32: runs on CUDA alone\n"
    document = json.loads(named.out)
    assert document["counts"] == {"done": 1, "failed": 0, "pending": 1}
    (left_out,) = document["not_run"]
    assert (left_out["runtime"], left_out["runs"], left_out["reason"]) == ("cuda-graph", 1, "runs on CUDA alone")


def test_results_of_other_options_are_reported_and_layers_are_measured(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stored result that was measured otherwise there is a warning; one without layers is measured again."""
    pool = quickly(monkeypatch)
    sweep = ("sweep", "--size", "64,96", "--store", "runs.db")
    assert "other" not in mnfpn(*sweep, "--passes", "6").out
    again, tried = mnfpn(*sweep), len(pool.tasks)
    line = "2 results are of another sweep, measured with --passes 6, not with the default options"
    assert f"warning: {line}: repeat the sweep with --again to measure anew" in again.out
    assert mnfpn("sweep", "--resume", "--store", "runs.db").out.count("results are of another sweep") == 1
    planned = mnfpn(*sweep, "--by-layer", "--dry-run")
    assert "2 runs and 2 times of the baseline run" in planned.out
    layered = mnfpn(*sweep, "--by-layer")
    assert sum(task.work.by_layer for _, task in pool.tasks[tried:]) == 2
    assert "another sweep" not in layered.out
    assert mnfpn(*sweep, "--by-layer", "--dry-run").out.count("none: all of them are measured") == 1


@pytest.mark.slow
def test_going_on_with_what_is_finished_says_so(mnfpn: Mnfpn) -> None:
    """How many runs are measured, and that failures can be tried again; with failures, it exits with 1."""
    failing = mnfpn("sweep", "--size", "60000", "--device", "cpu", *QUICK, "--store", "runs.db")
    assert failing.code == 1
    assert "error: no run was measured" in failing.problems
    assert "must fit the memory that cpu has free" in failing.out
    again = mnfpn("sweep", "--resume", "--store", "runs.db")
    assert again.code == 1
    assert "nothing to resume in 'runs.db': 1 run failed (--retry-failed tries again)" in again.problems
    assert "mnfpn recommend" not in again.out
    assert "failed        1" in again.out


def test_a_budget_that_leaves_nothing_is_reported(mnfpn: Mnfpn) -> None:
    """And no sweep is stored."""
    outcome = mnfpn("sweep", "--size", "64", "--max-parameters", "1", "--store", "runs.db")
    assert outcome.code == 1
    assert "error: no run is within the budget: 1 are beyond it" in outcome.problems


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("novel", 1, "plan.measuring.novel: unknown key"),
        ("timeout_s", "x", "plan.measuring.timeout_s: must be a number, got 'x'"),
        ("sampling", {"passes": 0}, "plan.measuring.sampling.passes: must be at least 1, got 0"),
        ("", None, "plan.measuring: must be an object, got null"),
    ],
)
def test_a_sweep_whose_plan_is_damaged_is_not_gone_on_with(mnfpn: Mnfpn, key: str, value: object, rule: str) -> None:
    """The sweep, the key, and the rule that it breaks are named; nothing is measured."""
    mnfpn("sweep", "--width-mult", "0.35", "--size", "64", *QUICK, "--measure", "none", "--store", "runs.db")
    with open_store("runs.db") as store:
        (sweep,) = read_sweeps(store)
        plan = sweep.plan.model_dump(mode="json")
        put_plan(store, {**plan, "measuring": {**plan["measuring"], key: value} if key else value})
    outcome = mnfpn("sweep", "--resume", "--store", "runs.db")
    assert (outcome.code, outcome.out, outcome.problems.count("\n")) == (1, "", 1)
    assert outcome.problems.startswith(f"error: --store: 'runs.db' is damaged: sweep 1: {rule}")
    assert results("runs.db") == Counter()


TRAINING = ("--width-mult", "0.35", "--size", "64x64", "--device", "cpu", "--threads", "1", *QUICK)


def test_training_and_inference_are_runs_of_their_own(mnfpn: Mnfpn) -> None:
    """In the store, in every list and export, and where one is recommended."""
    assert mnfpn("sweep", *TRAINING, "--store", "runs.db", "--measure", "none").code == 0
    assert mnfpn("sweep", *TRAINING, "--store", "runs.db", "--measure", "none", "--train").code == 0
    listed = json.loads(mnfpn("runs", "list", "--store", "runs.db", "--json").out)
    assert sorted(one["train"] for one in listed["runs"]) == [False, True]
    assert [one["command"].endswith(" --train") for one in listed["runs"] if one["train"]] == [True]
    assert "--train" in listed["sweeps"][0]["command"]
    assert listed["sweeps"][1]["command"] == listed["sweeps"][0]["command"].replace(" --train", "")
    shown = mnfpn("runs", "list", "--store", "runs.db").out
    assert "inference" in shown
    assert "training" in shown
    exported = mnfpn("runs", "export", "--store", "runs.db", "--format", "csv").out.splitlines()
    assert sorted(row["train"] for row in csv.DictReader(exported)) == ["false", "true"]


def test_a_recommendation_does_not_mix_training_and_inference(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A training step that is within the latency is none of the inference passes that are."""
    trained = Execution(device="cpu", runtime="eager", train=True)
    runs = [
        Made(latency_s=0.01),
        Made(execution=trained, latency_s=0.02),
        Made(0.5, execution=trained, latency_s=0.01),
    ]
    store = str(make_store(tmp_path / "runs.db", runs))
    found = json.loads(mnfpn("recommend", "--store", store, "--max-latency", "15ms", "--json").out)
    picks = [(one["train"], [pick["train"] for pick in one["picks"]]) for one in found["recommendations"]]
    assert picks == [(False, [False]), (True, [True])]
    assert "batch 1, training steps" in mnfpn("recommend", "--store", store, "--max-latency", "15ms").out


def test_layers_are_not_timed_in_training_steps(mnfpn: Mnfpn) -> None:
    """As in bench; and where a file asks for both ways, only inference passes have layers."""
    outcome = mnfpn("sweep", *TRAINING, "--store", "runs.db", "--train", "--by-layer")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.problems == (
        "error: --by-layer: cannot be used with --train, since layers are timed in inference passes\n"
    )


def test_a_space_may_hold_both_ways_to_run(mnfpn: Mnfpn) -> None:
    """As true and false, and nothing else."""
    Path("space.json").write_text('{"train": [false, true], "size": 64}')
    planned = json.loads(mnfpn("sweep", "--space", "space.json", "--measure", "none", "--json").out)
    assert planned["runs"] == 2
    assert len(planned["sample"]) == 1, "its cost is the same"
    Path("space.json").write_text('{"train": ["no"]}')
    outcome = mnfpn("sweep", "--space", "space.json", "--measure", "none")
    assert (outcome.code, outcome.problems) == (2, 'error: space.json: train: must be true or false, got "no"\n')

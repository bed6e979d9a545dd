"""`mnfpn runs`: what a store holds, listed, shown, removed, merged, exported."""

import csv
import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.cli.main import run
from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.report.units import size_in_bytes
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import plan_runs
from mnfpn_cli.space.runs import Execution, run_key
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import add_baseline, add_sweep
from tests.cli.test_commands import in_terminal
from tests.conftest import Mnfpn
from tests.store.made import MACHINE, PLAN, measure, planned, result, swept
from tests.sweep.recorded import recorded

SLOW = "2026-01-01T00:00:09.000+00:00"
EVIL = "=HYPERLINK(1)|<b>\nand \x1b[31mmore"


@pytest.fixture
def keys() -> list[str]:
    """The keys of the runs: done, failed, pending, done."""
    return [key for key, _ in planned(4)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store whose runs are done, failed, pending and done, on a machine that became twice as slow."""
    name = str(tmp_path / "runs.db")
    with open_store(name, create=True) as opened:
        sweep, keys = swept(opened)
        measure(opened, keys[0], result(sweep, finished=SLOW))
        measure(opened, keys[1], result(sweep, status="failed", reason=EVIL, finished="2026-01-01T00:00:06.000+00:00"))
        measure(opened, keys[3], result(sweep, [0.001], finished="2026-01-01T00:00:05.000+00:00"))
        for index, (finished, time) in enumerate((("2026-01-01T00:00:05.000+00:00", 0.01), (SLOW, 0.02))):
            add_baseline(opened, BaselineTiming(f"{index:032}", sweep, keys[0], "here", finished, (time,) * 9))
    return name


def exported(mnfpn: Mnfpn, store: str, *more: str) -> list[dict[str, Any]]:
    """The runs of the JSON export."""
    done = mnfpn("runs", "export", "--store", store, *more)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert (document["command"], document["settings"], document["model"]) == ("runs export", None, None)
    runs: list[dict[str, Any]] = document["runs"]
    return runs


def test_list_shows_sweeps_runs_and_failures(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """What is the same for all stands once."""
    done = mnfpn("runs", "list", "--store", store)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^1  [-0-9: ]+      4     2       1        1$", done.out, re.MULTILINE)
    assert "\n1: mnfpn sweep\n" in done.out
    lines = [line.split("  ") for line in done.out.splitlines()]
    listed = [line[0] for line in lines if line[0] in {key[:8] for key in keys}]
    assert listed == [keys[index][:8] for index in (0, 1, 3, 2, 1)]  # the last done first, and why one failed
    assert f"{keys[0][:8]}  width_mult 0.25  done     here    5.500 ms   18 %  01-01 00:00" in done.out
    assert f"{keys[1][:8]}  =HYPERLINK(1)|<b> / and \\x1b[31mmore" in done.out
    assert "All of these: size 64x64, batch 1, runtime eager, device cpu." in done.out


@pytest.mark.parametrize(("status", "count"), [("done", 2), ("failed", 1), ("pending", 1)])
def test_list_and_export_of_one_status(mnfpn: Mnfpn, store: str, status: str, count: int) -> None:
    """Only those runs."""
    listed = json.loads(mnfpn("runs", "list", "--store", store, "--json", "--status", status).out)
    assert [one["status"] for one in listed["runs"]] == [status] * count
    assert listed["runs"] == exported(mnfpn, store, "--status", status)


def test_list_of_one_sweep(mnfpn: Mnfpn, store: str) -> None:
    """Only its runs; one that does not exist is an error."""
    with open_store(store) as opened:
        swept(opened, 1)
    listed = json.loads(mnfpn("runs", "list", "--store", store, "--json", "--sweep", "2").out)
    every = json.loads(mnfpn("runs", "list", "--store", store, "--json").out)
    assert [one["id"] for one in every["sweeps"]] == [2, 1]  # the latest first
    assert ([one["id"] for one in listed["sweeps"]], len(listed["runs"])) == ([2], 1)
    done = mnfpn("runs", "list", "--store", store, "--sweep", "3")
    assert (done.code, done.err) == (2, f"error: --sweep: must be a sweep of '{store}': 1, 2, got 3\n")


def test_a_terminal_gets_no_more_than_it_can_show(store: str) -> None:
    """It says how many there are; all of it fits 80 columns."""
    with open_store(store) as opened:
        swept(opened, 70)
    code, screen = in_terminal("runs", "list", "--store", store, columns=80)
    assert code == 0
    assert "20 more: see them with --limit 70 or --json" in screen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    assert max(len(line.rstrip()) for line in plain.splitlines() if ".db" not in line) <= 80


@pytest.mark.parametrize("columns", [50, 60, 80])
def test_a_pending_run_has_no_comma_for_its_worker(store: str, columns: int) -> None:
    """A word that a run lacks leaves nothing behind where a narrow terminal folds the words of a run."""
    code, screen = in_terminal("runs", "list", "--store", store, columns=columns)
    assert code == 0
    assert "pending" in screen
    assert not re.search(r"pending,", screen)


def test_show_tells_everything_of_a_run(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Settings, cost, results, environment, warnings, and the command."""
    done = mnfpn("runs", "show", keys[0][:8], "--store", store)
    assert (done.code, done.err) == (0, "")
    for line in (
        f"Run {keys[0]}",
        "width_mult  0.25",
        "input    1×3×64×64",
        "2026-01-01 00:00:09      1  here    done    11.00 ms   18 %       7",
        "corrected for the machine's drift  5.500 ms: the baseline run took 2.00 × its first time",
        "warning: passes became slower. What helps: wait.",
        "Again: mnfpn bench --width-mult 0.25 --size 64x64 --device cpu",
    ):
        assert line in done.out
    environment = recorded().environment
    software = f"torch {environment.torch}, Python {environment.python}, mnfpn {environment.mnfpn}"
    for name, value in (
        ("CPU", f"{environment.cpu}, {environment.cores} cores"),
        ("memory", size_in_bytes(environment.memory_bytes)),
        ("software", software),
        ("system", environment.platform),
    ):
        assert re.search(rf"^{name} +{re.escape(value)}$", done.out, re.MULTILINE)


def test_show_of_a_run_that_failed_says_why(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """As one line that steers no terminal."""
    done = mnfpn("runs", "show", keys[1].upper(), "--store", store)
    assert r"Failed: =HYPERLINK(1)|<b>\nand \x1b[31mmore" in done.out


def test_a_reason_is_kept_with_parameters_and_shown_with_options(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """In the table of what failed, and of one run alone; JSON has the text as it was stored."""
    store, reason = str(tmp_path / "runs.db"), "it took more than 900 s (`run_timeout`)"
    with open_store(store, create=True) as opened:
        sweep, keys = swept(opened)
        measure(opened, keys[1], result(sweep, status="failed", reason=reason))
    for words in (("list",), ("show", keys[1])):
        assert "it took more than 900 s (--run-timeout)" in mnfpn("runs", *words, "--store", store).out
    (run,) = [one for one in exported(mnfpn, store) if one["status"] == "failed"]
    assert run["reason"] == reason
    markdown, csv = (mnfpn("runs", "export", "--format", form, "--store", store).out for form in ("markdown", "csv"))
    assert "it took more than 900 s (--run-timeout)" in markdown
    assert "`" not in markdown
    assert "it took more than 900 s (`run_timeout`)" in csv  # data, as JSON is


def test_text_and_json_give_the_same_threads(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Those that it was measured with; the text also says who chose them."""
    for key, words in ((keys[0], "{}, torch's choice"), (keys[2], "torch's choice")):
        found = json.loads(mnfpn("runs", "show", key, "--store", store, "--json").out)["run"]["threads"]
        assert (found is None) == (key == keys[2])
        shown = mnfpn("runs", "show", key, "--store", store).out
        assert re.search(rf"^threads  {words.format(found)}$", shown, re.MULTILINE)


def test_show_as_json_has_all_results(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Each with what `mnfpn bench --json` said."""
    shown = json.loads(mnfpn("runs", "show", keys[0], "--store", store, "--json").out)
    assert shown["settings"]["width_mult"] == 0.25
    (only,) = shown["results"]
    assert only["run"]["latency_s"] == shown["run"]["latency_s"]
    assert (only["environment"]["cpu"], only["warnings"][0]["kind"]) == ("a CPU", "drift")
    pending = json.loads(mnfpn("runs", "show", keys[2], "--store", store, "--json").out)
    assert (pending["results"], pending["run"]["latency_s"], pending["run"]["worker"]) == ([], None, None)


def test_the_command_measures_the_same_run(mnfpn: Mnfpn, store: str) -> None:
    """Its settings are those of the row."""
    row = exported(mnfpn, store)[0]
    program, command, *options = shlex.split(row["command"])
    assert (program, command) == ("mnfpn", "bench")
    network = [one for one in options if one not in ("--size", "64x64", "--device", "cpu")]
    assert json.loads(mnfpn("settings", "show", *network).out) == row["settings"]


def test_prune_needs_to_know_what_to_remove(mnfpn: Mnfpn, store: str) -> None:
    """Nothing is removed by leaving something out."""
    done = mnfpn("runs", "prune", "--store", store)
    rule = "error: prune: must be given --failed, --pending, --superseded or keys of runs\n"
    assert (done.code, done.out, done.err) == (2, "", rule)


def test_prune_says_what_it_removed(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """And with --dry-run, what it would."""
    arguments = ["runs", "prune", "--failed", "--pending", keys[3][:6], "--store", store]
    assert mnfpn(*arguments, "--dry-run").out == "Would remove: 3 runs, 2 results.\n"
    assert mnfpn(*arguments).out == "Removed: 3 runs, 2 results.\n"
    assert [row["key"] for row in exported(mnfpn, store)] == [keys[0]]
    said = json.loads(mnfpn("runs", "prune", "--failed", "--store", store, "--json").out)
    assert said["command"] == "runs prune"
    assert {key: said[key] for key in ("runs", "results", "restored", "busy")} == dict.fromkeys(
        ("runs", "results", "restored", "busy"), 0
    )
    assert said["dry_run"] is False


def test_prune_frees_what_dead_processes_had(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Nobody measures that; what a living one measures stays."""
    with open_store(store) as opened:
        mine = Claims(opened)
        Claims(opened, me=f"{mine.host}/{2**22 + 1}/1000.00/aa").claim(keys[2])
        assert mnfpn("runs", "prune", "--pending", "--store", store).out == "Removed: 1 run, 0 results.\n"
        swept(opened)
        mine.claim(keys[2])
        done = mnfpn("runs", "prune", "--pending", "--store", store)
        assert done.out == "Removed: 0 runs, 0 results.\n1 run being measured right now stays.\n"


def test_merge_brings_in_results_once(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """Into a store that it makes."""
    target = str(tmp_path / "all.db")
    for new in ("3 new results", "0 new results"):
        done = mnfpn("runs", "merge", store, "--store", target)
        assert (done.code, done.out) == (0, f"Merged: {new} from '{store}' into '{target}'.\n")
    there = [row for row in exported(mnfpn, store) if row["status"] != "pending"]
    assert exported(mnfpn, target) == there


@pytest.mark.parametrize(
    ("other", "store", "message"),
    [
        ("none.db", "all.db", "OTHER: must be a store, but there is no file 'none.db'"),
        ("", "all.db", "OTHER: must be a file or a URL, got ''"),
        ("none.db", "no/all.db", "OTHER: must be a store, but there is no file 'none.db'"),
    ],
)
def test_a_store_that_is_not_there_is_not_merged(
    mnfpn: Mnfpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, store: str, message: str
) -> None:
    """And nothing is made for it; the message says which of both stores it is."""
    monkeypatch.chdir(tmp_path)
    done = mnfpn("runs", "merge", other, "--store", store)
    assert (done.code, done.out, done.err, list(tmp_path.iterdir())) == (2, "", f"error: {message}\n", [])


def test_a_store_that_cannot_be_made_is_not_merged_into(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """It is that of --store."""
    done = mnfpn("runs", "merge", store, "--store", str(tmp_path / "no" / "all.db"))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --store: folder '")


@pytest.mark.parametrize("spelling", ["{store}", "sqlite:///{store}"])
def test_a_store_is_not_merged_into_itself(mnfpn: Mnfpn, store: str, spelling: str) -> None:
    """However it is spelled."""
    done = mnfpn("runs", "merge", store, "--store", spelling.format(store=store))
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: --store: must not be a file that the command reads, got '{store}'\n"


def test_the_json_export_is_a_document_of_runs(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Under the keys that scripts rely on; null where nothing was measured."""
    rows = {row["key"]: row for row in exported(mnfpn, store)}
    assert set(rows) == set(keys)
    done, failed, pending = (rows[keys[index]] for index in (0, 1, 2))
    assert [one["status"] for one in (done, failed, pending)] == ["done", "failed", "pending"]
    assert done["settings"] == NetworkSettings.model_validate({"width_mult": 0.25}).model_dump(mode="json")
    assert (done["device"], done["runtime"], done["worker"], done["machine"]) == ("cpu", "eager", "here", MACHINE)
    assert done["input"] == {"batch": 1, "channels": 3, "height": 64, "width": 64}
    assert (done["size"], done["batch"], done["dtype"], done["threads"]) == ("64x64", 1, "float32", 2)
    assert done["latency_s"]["median"] == 0.011
    assert len(done["latency_s"]["samples"]) == 7
    assert (done["drift"], done["corrected_s"]) == (2.0, 0.0055)
    figures = planned(1)[0][1].figures
    assert (done["cost"]["parameters"], done["cost"]["macs"]) == (figures.parameters, figures.macs)
    assert done["cost"]["planned_memory_bytes"] == figures.memory_bytes
    assert done["cost"]["levels"] == figures.levels
    assert (done["sweep"], done["finished"], done["reason"]) == (1, SLOW, None)
    assert (failed["reason"], failed["latency_s"], failed["worker"]) == (EVIL, None, "here")
    assert {pending[name] for name in ("latency_s", "worker", "sweep", "started", "finished", "reason")} == {None}
    assert all(list(row) == list(done) for row in rows.values())


def test_json_is_printed_beside_a_file_of_another_form(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """As by the other commands; to print two forms is refused."""
    file = tmp_path / "runs.csv"
    document = json.loads(mnfpn("runs", "export", "--store", store, "--json", "--output", str(file)).out)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [one["key"] for one in document["runs"]] == [row["key"] for row in rows]
    refused = mnfpn("runs", "export", "--store", store, "--json", "--format", "csv")
    rule = "error: --json: is --format json, and cannot be used with --format csv\n"
    assert (refused.code, refused.out, refused.err) == (2, "", rule)


def test_a_sweep_is_listed_by_what_its_plan_says(mnfpn: Mnfpn, store: str) -> None:
    """What was asked for, how its runs are measured, what its space holds, and how far it is."""
    (sweep,) = json.loads(mnfpn("runs", "list", "--store", store, "--json").out)["sweeps"]
    assert (sweep["command"], sweep["machine"]) == ("mnfpn sweep", MACHINE)
    assert sweep["measuring"] == MeasuringRecord().model_dump(mode="json")
    assert sweep["space"] == {"runs": 4, "repeated": 0, "all_runtimes": False}
    assert sweep["counts"] == {"done": 2, "failed": 1, "pending": 1}


def test_the_csv_export_is_read_back_and_safe_in_a_spreadsheet(mnfpn: Mnfpn, store: str, keys: list[str]) -> None:
    """Settings under dotted names, tables of stages as JSON, no formula, and nothing that steers a terminal."""
    rows = {
        row["key"]: row
        for row in csv.DictReader(io.StringIO(mnfpn("runs", "export", "--store", store, "--format", "csv").out))
    }
    done = rows[keys[0]]
    assert float(done["latency_s.median"]) == 0.011
    assert json.loads(done["latency_s.samples"])[2] == 0.012
    assert json.loads(done["settings.stages"])[1] == {"expansion": 6, "channels": 24, "repeats": 2, "stride": 2}
    assert (done["settings.width_mult"], done["settings.pyramid.smooth_shared"]) == ("0.25", "false")
    assert rows[keys[1]]["reason"] == f"'{EVIL}".replace("\x1b", "\\x1b")
    assert rows[keys[2]]["latency_s.median"] == ""
    assert all(None not in row and None not in row.values() for row in rows.values())


def test_the_parquet_export_has_types(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """Numbers are numbers, moments are moments, samples are a list; what was not measured is null."""
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "runs.parquet"
    assert mnfpn("runs", "export", "--store", store, "--output", str(file)).out == ""
    table = parquet.read_table(file)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["settings.width_mult"] == types["latency_s.median"] == types["corrected_s"] == "double"
    assert types["cost.macs"] == types["batch"] == types["settings.pyramid.channels"] == "int64"
    assert types["settings.pyramid.smooth_shared"] == "bool"
    assert types["finished"] == "timestamp[ms, tz=UTC]"
    assert types["latency_s.samples"].startswith("list<")
    rows = table.to_pylist()
    assert [row["status"] for row in rows] == ["done", "failed", "done", "pending"]
    assert rows[0]["finished"].isoformat(timespec="milliseconds") == SLOW
    assert (rows[0]["latency_s.samples"][2], rows[3]["latency_s.samples"], rows[3]["finished"]) == (0.012, None, None)


def test_rows_of_different_networks_share_the_columns(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """A setting that one kind of network has not is empty there; of mixed values there is text."""
    parquet = pytest.importorskip("pyarrow.parquet")
    store, file = str(tmp_path / "x.db"), tmp_path / "x.parquet"
    kinds = [{}, {"pyramid": {"levels": ["p3", "p4"]}}, {"pyramid": None, "head": {"kind": "classifier"}}]
    with open_store(store, create=True) as opened:
        settings = [NetworkSettings.model_validate(kind) for kind in kinds]
        runs = [one for each in settings for one in plan_runs(each, Size(64, 64), [Execution()])]
        add_sweep(opened, PLAN, MACHINE, [(run_key(one.run, MACHINE), one) for one in runs])
    mnfpn("runs", "export", "--store", store, "--output", str(file))
    rows = parquet.read_table(file).to_pylist()
    assert {row["settings.pyramid.levels"] for row in rows} == {"all", '["p3", "p4"]', None}
    assert {row["settings.pyramid.channels"] for row in rows} == {256, None}
    assert "settings.pyramid" not in rows[0]


def test_the_markdown_export_is_a_table_of_what_differs(
    mnfpn: Mnfpn, store: str, tmp_path: Path, keys: list[str]
) -> None:
    """Nothing in a run ends it or becomes HTML."""
    file = tmp_path / "runs.md"
    mnfpn("runs", "export", "--store", store, "--output", str(file))
    head, line, *rows = file.read_text().splitlines()
    assert head.startswith("| key | status | settings.width_mult | size |")
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in (head, line, *rows)} == {head.count("|")}
    assert rows[1].endswith(r"| =HYPERLINK(1)\|&lt;b> and \\x1b[31mmore |")
    assert rows[0].startswith(f"| {keys[0]} | done | 0.25 | 64x64 |")


def test_an_empty_store_is_exported_as_no_rows(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """In every form."""
    store = str(tmp_path / "x.db")
    with open_store(store, create=True):
        pass
    assert exported(mnfpn, store) == []
    assert mnfpn("runs", "export", "--store", store, "--format", "csv").out.startswith("key,status,size,")
    assert mnfpn("runs", "export", "--store", store, "--format", "markdown").out == "| key | status |\n|---|---|\n"
    assert mnfpn("runs", "export", "--store", store, "--output", str(tmp_path / "x.parquet")).code == 0
    assert "No such runs in" in mnfpn("runs", "list", "--store", store).out


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--format", "parquet"], "--format: parquet is binary, and requires --output FILE"),
        (["--format", "xml"], "--format: must be one of csv, json, parquet, markdown, got 'xml'"),
        (
            ["--output", "runs.xml"],
            "--output: must end in .json, .csv, .md, .parquet unless --format is given",
        ),
        (["--output", "none/runs.csv"], "--output: folder 'none' does not exist"),
        (["--status", "well"], "--status: must be one of done, failed, pending, got 'well'"),
        (["--sweep", "0"], "--sweep: must be a whole number, 1 or more, got 0"),
    ],
)
def test_what_cannot_be_exported(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], rule: str
) -> None:
    """Place, rule and value."""
    monkeypatch.chdir(tmp_path)
    done = mnfpn("runs", "export", "--store", store, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {rule}")


def test_parquet_needs_pyarrow(mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is given, and no file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "runs.parquet"
    done = mnfpn("runs", "export", "--store", store, "--output", str(file))
    assert (done.code, file.exists()) == (1, False)
    assert done.err == "error: --format parquet: needs pyarrow, which is not installed: pip install 'mnfpn[parquet]'\n"


def test_an_export_that_fails_leaves_the_file_as_it_was(
    mnfpn: Mnfpn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written whole or not at all."""
    file = tmp_path / "runs.csv"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = mnfpn("runs", "export", "--store", store, "--output", str(file))
    assert (done.code, file.read_text()) == (1, "before")
    assert done.err == f"error: --output: '{file}' could not be written: No space left on device\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv", "runs.db"]


def test_a_store_must_be_named() -> None:
    """There is no default: results of one team are not those of another."""
    assert [run(["runs", command]) for command in ("list", "export", "prune")] == [2, 2, 2]

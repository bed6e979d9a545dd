"""`mnfpn runs score`: scores by key and from files; what they reach, and the frontier and the choice that follow."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import mnfpn_cli.api as api
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.report import ReportDocument
from mnfpn_cli.documents.runs import RunsExportDocument, RunsScoreDocument
from mnfpn_cli.errors import UsageError
from mnfpn_cli.report.rows import rows_of
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.store.store import open_store
from tests.conftest import Mnfpn
from tests.report.stores import CHANNELS_LAST, EAGER, SMALL, Made, make_store

RUNS = (
    Made(0.35, SMALL, CHANNELS_LAST, 0.005),
    Made(0.5, SMALL, CHANNELS_LAST, 0.006),
    Made(1.0, SMALL, CHANNELS_LAST, 0.008),
    Made(0.35, SMALL, EAGER, 0.009),
)
"""Three networks; the first is run by two runtimes."""


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with these runs."""
    return str(make_store(tmp_path / "runs.db", RUNS))


def runs_of(store: str) -> list[StoredRun]:
    """The runs of a store."""
    with open_store(store) as opened:
        return read_runs(opened)


def key_of(store: str, width: float) -> str:
    """The key of the first run with this width."""
    return next(one.key for one in runs_of(store) if one.settings.width_mult == width)


def values_of(store: str) -> dict[tuple[float, str], dict[str, float]]:
    """The scores of runs by width and runtime."""
    return {
        (one.settings.width_mult, one.execution.runtime): {name: score.value for name, score in one.scores.items()}
        for one in runs_of(store)
    }


def test_a_score_reaches_every_run_of_its_network(mnfpn: Mnfpn, store: str) -> None:
    """By whatever runtime; a newer score replaces an older one, and is shown with its source."""
    key = key_of(store, 0.35)
    done = mnfpn("runs", "score", key[:8], "map=0.2", "acc=0.7", "--store", store, "--json")
    assert (done.code, done.err) == (0, "")
    assert [(one["metric"], one["value"], one["runs"]) for one in json.loads(done.out)["scores"]] == [
        ("map", 0.2, 2),
        ("acc", 0.7, 2),
    ]
    assert mnfpn("runs", "score", key, "map=0.25", "--store", store, "--source", "run 7").code == 0
    found = values_of(store)
    assert found[0.35, "eager"] == found[0.35, "channels-last"] == {"map": 0.25, "acc": 0.7}
    assert found[0.5, "channels-last"] == {}
    shown = mnfpn("runs", "show", key, "--store", store).out
    assert "run 7" in shown
    assert "0.25" in shown


def test_the_frontier_and_the_choice_follow_the_metric(mnfpn: Mnfpn, store: str) -> None:
    """Here the network with the fewest MACs is the best: all others leave the frontier."""
    for width, value in ((0.35, 0.3), (0.5, 0.2), (1.0, 0.1)):
        assert mnfpn("runs", "score", key_of(store, width), f"map={value}", "--store", store).code == 0
    report = json.loads(mnfpn("report", "--store", store, "--json").out)
    assert report["metric"] == "map"
    assert [one["settings"]["width_mult"] for one in report["frontier"][0]["runs"]] == [0.35]
    words = ("recommend", "--store", store, "--max-latency", "1s", "--json")
    (by_map,) = json.loads(mnfpn(*words).out)["recommendations"]
    assert by_map["picks"][0]["settings"]["width_mult"] == 0.35
    assert by_map["picks"][0]["score"]["value"] == 0.3
    assert by_map["step"] is None
    (by_macs,) = json.loads(mnfpn(*words, "--metric", "macs").out)["recommendations"]
    assert by_macs["picks"][0]["settings"]["width_mult"] == 1.0


def test_the_next_step_has_its_time_and_its_score(mnfpn: Mnfpn, store: str) -> None:
    """With the interval of the ratio of times."""
    for width, value in ((0.35, 0.1), (0.5, 0.2), (1.0, 0.3)):
        assert mnfpn("runs", "score", key_of(store, width), f"map={value}", "--store", store).code == 0
    words = ("recommend", "--store", store, "--max-latency", "7ms")
    (found,) = json.loads(mnfpn(*words, "--json").out)["recommendations"]
    low, high = found["step"]["ratio_ci95"]
    assert low < 8 / 6 < high
    assert found["step"]["score"]["value"] == 0.3
    out = mnfpn(*words).out
    assert "takes 2.000 ms more (+33 %, 95 % +" in out
    assert "has 0.3 instead of 0.2" in out


def test_runs_without_the_metric_are_left_out_and_counted(mnfpn: Mnfpn, store: str) -> None:
    """Two of four runs have it."""
    assert mnfpn("runs", "score", key_of(store, 0.35), "map=0.1", "--store", store).code == 0
    done = mnfpn("recommend", "--store", store, "--max-latency", "1s")
    assert "2 measured runs without --metric map are left out" in done.out
    assert "without --metric map are left out" in mnfpn("report", "--store", store).out


def test_an_unknown_metric_is_refused(mnfpn: Mnfpn, store: str) -> None:
    """With those that the store has."""
    assert mnfpn("runs", "score", key_of(store, 0.35), "map=0.1", "--store", store).code == 0
    done = mnfpn("recommend", "--store", store, "--max-latency", "1s", "--metric", "mpa")
    assert done.code == 2
    assert "--metric: must be a metric that a measured run has a score of (macs, map), got 'mpa'" in done.err


def exported(mnfpn: Mnfpn, store: str, path: Path) -> list[dict[str, str]]:
    """The rows of the store's CSV export."""
    assert mnfpn("runs", "export", "--store", store, "--output", str(path)).code == 0
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as CSV, and return the file's name."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_an_export_with_a_column_more_is_read(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """By key and, without that, by settings, size and dtype; the metric then has a column of its own."""
    rows = exported(mnfpn, store, tmp_path / "x.csv")
    scored = [{**row, "map": row["settings.width_mult"]} for row in rows]
    assert mnfpn("runs", "score", "--scores", written(tmp_path / "a.csv", scored), "--store", store).code == 0
    assert {width: values["map"] for (width, _), values in values_of(store).items()} == {0.35: 0.35, 0.5: 0.5, 1.0: 1.0}
    again = exported(mnfpn, store, tmp_path / "y.csv")
    assert {float(row["scores.map"]) for row in again} == {0.35, 0.5, 1.0}
    by_settings = [
        {**{key: value for key, value in row.items() if key.startswith(("settings.", "size", "dtype"))}, "map": "9"}
        for row in rows
        if row["settings.width_mult"] == "0.5"
    ]
    assert mnfpn("runs", "score", "--scores", written(tmp_path / "b.csv", by_settings), "--store", store).code == 0
    assert values_of(store)[0.5, "channels-last"] == {"map": 9.0}


BAD = [
    ("key,map\nffffffff,0.1\n", "line 2, key: must be the key of one run"),
    ("key,map\n{0},nan\n", "line 2, map: must be a finite number"),
    ("key,map\n{0},good\n", "line 2, map: must be a finite number, of which more is better, got 'good'"),
    ("key,map\n{0},0.1\n{0},0.2\n", "line 3, map: must be the value that the same network has"),
    ("key,map\n{0}\n", "line 2: must have 2 values"),
    ("key,macs\n{0},1\n", "must be another metric than mnfpn has itself, got 'macs'"),
    ("key,map,map\n{0},1,2\n", "must have one column for each metric and setting, got 'map', 'map'"),
    ("key\n{0}\n", "must have a column for each metric"),
    ("map\n1\n", "must have a column 'key', or columns of settings"),
    ("settings.with_mult,map\n1,2\n", "must name settings that networks of the store have, got 'settings.with_mult'"),
    ("width_mult,map\n0.6,2\n", "line 2: must name one network, size and dtype of a run"),
    ("size,map\n64x64,2\n", "which matches 3 networks"),
    ("key,scores.map,map\n{0},1,2\n", "must have one column for each metric and setting, got 'scores.map', 'map'"),
    ("key,width-mult,settings.width_mult,map\n{0},1,1,2\n", "must have one column for each metric and setting"),
    ("key,map\n{0},\n", "must have a score in a column of metrics (map)"),
    ('key,reason,map\n{0},"two\nlines",bad\n', "scores.csv, line 2, map: must be a finite number"),
    ("key,map\n{0},1_000\n", "line 2, map: must be a finite number"),
    ("key,imagenet-top1\n{0},71\n", "must be another metric than mnfpn has itself, got 'imagenet-top1'"),
    ("", "must have a line of names and a line for each score"),
    ("key,map\n{0},0.3\nffffffff,0.1\n", "line 3, key: must be the key of one run"),
    ('key,map\n"{0},0.3\n', "must be comma-separated values in UTF-8"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[f"{index}" for index in range(len(BAD))])
def test_a_bad_file_is_refused_whole(mnfpn: Mnfpn, store: str, tmp_path: Path, text: str, message: str) -> None:
    """With the line; no score of it is stored."""
    path = tmp_path / "scores.csv"
    path.write_text(text.format(key_of(store, 0.35)))
    done = mnfpn("runs", "score", "--scores", str(path), "--store", store)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert all(not one.scores for one in runs_of(store))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map=1",), "'map=1': must be the key of one run|METRIC=VALUE: must be given"),
        (("{0}", "map"), "METRIC=VALUE: must be a metric and its value, as map=0.231, got 'map'"),
        (("{0}", "map=inf"), "map: must be a finite number"),
        (("{0}", "map=1", "map=2"), "must have each metric once"),
        (("{0}", "1st=1"), "must name a metric, with a letter first"),
        (("{0}", "map=1", "--scores", "x.csv"), "must be given either KEY METRIC=VALUE, or --scores FILE"),
        ((), "must be given either KEY METRIC=VALUE, or --scores FILE"),
        (("--scores", "none.csv"), "none.csv"),
    ],
    ids=["no key", "no value", "infinite", "twice", "name", "both", "neither", "no file"],
)
def test_bad_words_are_refused(mnfpn: Mnfpn, store: str, words: tuple[str, ...], message: str) -> None:
    """Nothing is stored."""
    done = mnfpn("runs", "score", *(word.format(key_of(store, 0.35)) for word in words), "--store", store)
    assert done.code == 2
    assert any(one in done.err for one in message.split("|"))
    assert all(not one.scores for one in runs_of(store))


def test_scores_are_merged_with_their_networks(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """Twice gives the same; a network whose last run is removed takes its scores along."""
    key, other = key_of(store, 0.35), str(tmp_path / "other.db")
    assert mnfpn("runs", "score", key, "map=0.3", "--store", store).code == 0
    for _ in range(2):
        assert mnfpn("runs", "merge", store, "--store", other).code == 0
        assert values_of(other)[0.35, "eager"] == {"map": 0.3}
    keys = [one.key for one in runs_of(other) if one.settings.width_mult == 0.35]
    assert mnfpn("runs", "prune", *keys, "--store", other).code == 0
    assert all(not one.scores for one in runs_of(other))
    assert len(runs_of(other)) == 2


def test_scores_are_given_from_python(store: str) -> None:
    """The same rules as at the prompt."""
    document = api.score(store, {key_of(store, 1.0): {"map": 0.5}}, source="a notebook")
    assert [(one.metric, one.value, one.source, one.runs) for one in document.scores] == [("map", 0.5, "a notebook", 1)]
    with pytest.raises(UsageError, match="must have a score for at least one key"):
        api.score(store, {})


def test_the_rows_of_one_network_give_one_score(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """As in an export, which has a row for each runtime."""
    rows = [{"key": one.key, "map": 0.4} for one in runs_of(store) if one.settings.width_mult == 0.35]
    assert len(rows) == 2
    done = mnfpn("runs", "score", "--scores", written(tmp_path / "a.csv", rows), "--store", store, "--json")
    assert [one["runs"] for one in json.loads(done.out)["scores"]] == [2]


def test_an_export_that_is_read_again_keeps_sources(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """A score that it repeats is not stored again; one that was changed is."""
    first, second = key_of(store, 0.35), key_of(store, 0.5)
    for key in (first, second):
        assert mnfpn("runs", "score", key, "map=0.2", "--store", store, "--source", "run 7").code == 0
    rows = exported(mnfpn, store, tmp_path / "x.csv")
    changed = [{**row, "scores.map": "0.3"} if row["key"] == second else row for row in rows]
    name = written(tmp_path / "y.csv", changed)
    done = mnfpn("runs", "score", "--scores", name, "--store", store, "--json")
    assert [one["value"] for one in json.loads(done.out)["scores"]] == [0.3]
    sources = {one.key: one.scores["map"].source for one in runs_of(store) if one.scores}
    assert (sources[first], sources[second]) == ("run 7", name)


def test_a_frame_of_a_report_is_read(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """What a report says of each run is no metric: its score, a prediction, whether it is on the frontier."""
    pytest.importorskip("pandas")
    assert mnfpn("runs", "score", key_of(store, 0.35), "map=0.2", "--store", store).code == 0
    frame = ReportDocument.model_validate_json(mnfpn("report", "--store", store, "--json").out).to_pandas()
    assert "score.value" in frame
    frame["acc"] = 0.5
    frame.to_csv(tmp_path / "x.csv", index=False)
    done = mnfpn("runs", "score", "--scores", str(tmp_path / "x.csv"), "--store", store, "--json")
    assert (done.code, done.err) == (0, "")
    assert {one["metric"] for one in json.loads(done.out)["scores"]} == {"acc"}


def test_long_cells_of_an_export_are_read(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """The times of thousands of passes stand in one cell; the limit of Python's module is as before."""
    limit = csv.field_size_limit()
    rows = [{"key": key_of(store, 1.0), "latency_s.samples": "0.001," * 40_000, "map": "0.5"}]
    assert mnfpn("runs", "score", "--scores", written(tmp_path / "a.csv", rows), "--store", store).code == 0
    assert csv.field_size_limit() == limit


def test_columns_may_be_named_as_options(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """By --width-mult, width-mult or the key."""
    for index, column in enumerate(("--width-mult", "width-mult", "width_mult", "settings.width_mult")):
        file = written(tmp_path / f"{index}.csv", [{column: "0.50", "size": "64", "map": index}])
        assert mnfpn("runs", "score", "--scores", file, "--store", store).code == 0
        assert values_of(store)[0.5, "channels-last"] == {"map": index}


def test_the_source_is_shown(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """That of the command line, the file, or the words that were given."""
    key = key_of(store, 1.0)
    file = written(tmp_path / "a.csv", [{"key": key, "file": 1.0}])
    assert mnfpn("runs", "score", key, "cli=1", "--store", store).code == 0
    assert mnfpn("runs", "score", "--scores", file, "--store", store).code == 0
    (run,) = (one for one in runs_of(store) if one.key == key)
    assert {name: one.source for name, one in run.scores.items()} == {"cli": "given on the command line", "file": file}


def test_an_export_of_one_metric(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """Only the runs that have it, and no other metric: in every form."""
    for width, words in ((0.35, ("map=0.2", "acc=0.7")), (0.5, ("acc=0.8",))):
        assert mnfpn("runs", "score", key_of(store, width), *words, "--store", store).code == 0
    export = ("runs", "export", "--store", store)
    document = RunsExportDocument.model_validate_json(mnfpn(*export, "--metric", "map").out)
    assert [list(one.scores) for one in document.runs] == [["map"], ["map"]]
    assert {one.scores["map"].source for one in document.runs} == {"given on the command line"}
    (row, _) = csv.DictReader(mnfpn(*export, "--metric", "map", "--format", "csv").out.splitlines())
    assert row["scores.map"] == "0.2"
    assert "scores.acc" not in row
    table = mnfpn(*export, "--metric", "acc", "--format", "markdown").out
    assert table.splitlines()[0].count("scores.") == 1
    assert len(table.splitlines()) == 2 + 3
    done = mnfpn(*export, "--metric", "mpa", "--output", str(tmp_path / "x.csv"))
    assert (done.code, done.out) == (2, "")
    assert "--metric: must be a metric that a run has a score of (acc, map), got 'mpa'" in done.err
    assert not (tmp_path / "x.csv").exists()


def test_the_document_is_read_back_and_has_a_row_for_each_score(mnfpn: Mnfpn, store: str) -> None:
    """With what the score is of, and the number of its runs."""
    printed = mnfpn("runs", "score", key_of(store, 0.35), "map=0.2", "acc=0.7", "--store", store, "--json").out
    document = RunsScoreDocument.model_validate_json(printed)
    assert to_json(document) == printed
    columns, rows = rows_of(document)
    assert columns == ["name", "size", "dtype", "metric", "value", "source", "runs"]
    assert [(row["metric"], row["value"], row["runs"]) for row in rows] == [("map", 0.2, 2), ("acc", 0.7, 2)]


def test_lists_and_frames_have_a_column_for_each_metric(mnfpn: Mnfpn, store: str) -> None:
    """Of numbers; empty where a run has no score."""
    assert mnfpn("runs", "score", key_of(store, 0.5), "map=0.231", "--store", store).code == 0
    out = mnfpn("runs", "list", "--store", store).out
    assert "map" in out
    assert out.count("0.231") == 1
    pandas = pytest.importorskip("pandas")
    printed = mnfpn("runs", "export", "--store", store).out
    frame = RunsExportDocument.model_validate_json(printed).to_pandas()
    assert pandas.api.types.is_float_dtype(frame["scores.map"])
    assert frame["scores.map"].count() == 1


def test_parquet_has_numbers(mnfpn: Mnfpn, store: str, tmp_path: Path) -> None:
    """Of a score that is whole as well."""
    parquet = pytest.importorskip("pyarrow.parquet")
    assert mnfpn("runs", "score", key_of(store, 0.5), "map=2", "--store", store).code == 0
    file = tmp_path / "x.parquet"
    assert mnfpn("runs", "export", "--store", store, "--output", str(file)).code == 0
    column = parquet.read_table(file)["scores.map"]
    assert str(column.type) == "double"
    assert sorted(column.to_pylist(), key=str) == [2.0, None, None, None]


def test_scores_from_python_are_checked(store: str) -> None:
    """Two values for one network by two keys; names and values of other types."""
    first, second = (one.key for one in runs_of(store) if one.settings.width_mult == 0.35)
    for scores, message in (
        ({first: {"map": 1.0}, second: {"map": 2.0}}, "must be the value that the same network has at map of"),
        ({first: {1: 1.0}}, "must name a metric"),
        ({first: {"map": "good"}}, "must be a finite number"),
        ({first: {"map": True}}, "must be a finite number"),
        ({first: {"acc": 1.0}, "ffffffff": {"map": 1.0}}, "must be the key of one run"),
    ):
        with pytest.raises(UsageError, match=message):
            api.score(store, scores)  # type: ignore[arg-type]
    assert all(not one.scores for one in runs_of(store))
    numpy = pytest.importorskip("numpy")
    assert api.score(store, {first: {"map": numpy.float32(0.5)}}).scores[0].value == 0.5

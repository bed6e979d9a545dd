"""`mnfpn predict`, and `--predict` of sweep, report and recommend, on a planted machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.runs import Execution, Run
from mnfpn_cli.sweep import predictions
from tests.conftest import Mnfpn
from tests.sweep.planted import PlantedPools, seconds_of

SPACE = ("--width-mult", "0.35,0.5,0.75", "--pyramid-channels", "32,64,96", "--size", "64,96,128,160")
"""The options of a space of 36 networks."""

CPU = ("--device", "cpu")


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PlantedPools:
    """Measure on a planted machine, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return PlantedPools(monkeypatch)


def learn(mnfpn: Mnfpn, number: int = 12) -> dict[str, Any]:
    """Measure some runs of the space into runs.db; return the document."""
    done = mnfpn("sweep", *SPACE, *CPU, "--measure", str(number), "--predict", "--store", "runs.db", "--json")
    assert done.code == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def truth(record: dict[str, Any]) -> float:
    """The time of a run of a document on the planted machine."""
    settings, image = NetworkSettings.model_validate(record["settings"]), record["input"]
    return seconds_of(Run(settings, Size(image["height"], image["width"]), Execution(record["runtime"], "cpu")))


def test_a_sweep_measures_a_few_and_predicts_the_others(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """Until the model is good: fewer runs than were allowed; a sweep that is resumed measures no more."""
    document = learn(mnfpn, 30)
    done = document["counts"]["done"]
    assert 10 <= done < 30
    assert document["counts"]["pending"] == 36 - done
    assert [one["learned_from"] for one in document["models"]] == [done]
    assert document["sweeps"][0]["predict"] is True
    assert document["commands"]["recommend"].endswith("--store runs.db --predict")
    before = pools.measured
    again = mnfpn("sweep", "--resume", "--store", "runs.db")
    assert again.code == 0
    assert pools.measured == before
    assert f"not measured  {36 - done}" in again.out


def test_networks_are_predicted(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """Others than those of the store too, with intervals; outside of what was measured it is said."""
    learn(mnfpn)
    options = ("--width-mult", "0.42,0.6", "--pyramid-channels", "48", "--size", "96,640")
    document = json.loads(mnfpn("predict", "--store", "runs.db", *options, *CPU, "--json").out)
    assert len(document["runs"]) == 4
    for one in document["runs"]:
        near, prediction = one["input"]["height"] == 96, one["prediction"]
        assert prediction["seconds"] == pytest.approx(truth(one), rel=0.1 if near else 0.3)
        assert prediction["low"] < prediction["seconds"] < prediction["high"]
        assert bool(prediction["extrapolated"]) is not near
        assert one["measured_s"] is None
    assert document["models"][0]["within_10"] >= 0.9
    table = mnfpn("predict", "--store", "runs.db", *options, *CPU)
    assert table.code == 0
    assert "Predicted times on" in table.out
    assert "than in any run that was measured" in " ".join(table.out.split())
    known = json.loads(mnfpn("predict", "--store", "runs.db", *SPACE, *CPU, "--json").out)["runs"]
    measured = [one for one in known if one["measured_s"]]
    assert len(measured) >= 10
    assert all(one["measured_s"] == pytest.approx(truth(one), rel=0.01) for one in measured)


def test_a_report_shows_predicted_runs(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """Marked in the tables, with their intervals in the document; never on the measured frontier."""
    learn(mnfpn)
    document = json.loads(mnfpn("report", "--store", "runs.db", "--predict", "--json").out)
    predicted = [one for one in document["runs"] if one["prediction"]]
    assert {one["status"] for one in predicted} == {"pending"}
    assert len(predicted) == document["counts"]["pending"]
    assert all(one["prediction"]["seconds"] == pytest.approx(truth(one), rel=0.1) for one in predicted)
    assert not any(one["on_frontier"] for one in predicted)
    (frontier,) = document["frontier"]
    assert frontier["predicted"]
    assert all(one["latency_s"] is None for one in frontier["predicted"])
    text = mnfpn("report", "--store", "runs.db", "--predict").out
    assert "Predicted to be on the frontier" in text
    assert "≈ is before times that are predicted" in text
    without = json.loads(mnfpn("report", "--store", "runs.db", "--json").out)
    assert (without["models"], [one for one in without["runs"] if one["prediction"]]) == ([], [])


def test_a_recommended_run_is_always_measured(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """The promising ones are measured first, and the best of all networks within the limit is found."""
    learn(mnfpn)
    before = pools.measured
    every = json.loads(mnfpn("predict", "--store", "runs.db", *SPACE, *CPU, "--json").out)["runs"]
    limit = sorted(truth(one) for one in every)[20] * 1.002
    words = ("recommend", "--store", "runs.db", "--predict", "--max-latency", f"{limit * 1e3:.4f}ms")
    done = mnfpn(*words, "--json")
    assert done.code == 0
    assert "whose predicted times are promising" in done.err
    document = json.loads(done.out)
    assert 0 < document["checked"] <= 12
    assert document["checked"] < pools.measured - before <= 20
    (found,) = document["recommendations"]
    best = max(one["cost"]["macs"] for one in every if truth(one) <= limit)
    assert found["picks"][0]["cost"]["macs"] == best
    assert all(one["latency_s"]["samples"] for one in found["picks"])
    text = mnfpn(*words).out
    assert "more runs were considered by predicted times" in " ".join(text.split())


def test_a_recommendation_from_nothing(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """A space is measured in part, predicted, and answered; nothing is left in the folder."""
    done = mnfpn("recommend", *SPACE, *CPU, "--max-latency", "12ms", "--json")
    assert done.code == 0, done.err
    assert "measuring at most 24 of 36 runs, to predict the others" in done.err
    document = json.loads(done.out)
    assert document["recommendations"][0]["picks"]
    assert document["predicted"] > 0
    assert pools.measured < 36
    assert list(Path.cwd().iterdir()) == []


def test_a_small_space_is_measured_whole(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """Twelve runs are fewer than a model needs to be of use; with a store, they are kept in it."""
    options = ("--width-mult", "0.35,0.5", "--size", "64,96", *CPU, "--store", "new.db")
    done = mnfpn("recommend", *options, "--max-latency", "1s", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["recommendations"][0]["measured"], document["predicted"], document["models"]) == (4, 0, [])
    assert Path("new.db").exists()


def test_runs_that_are_left_out_as_too_slow_are_said(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """The larger of two networks cannot meet the limit at the rate of the smaller one."""
    options = ("--width-mult", "0.35,1.4", "--size", "64,256", *CPU)
    done = mnfpn("recommend", *options, "--max-latency", "1us", "--json")
    document = json.loads(done.out)
    assert done.code == 1
    assert document["recommendations"][0]["measured"] == 1
    assert document["warnings"][0] == "3 runs too slow for `max_latency` even at the best rate so far, and not measured"


def test_only_networks_of_the_space_are_recommended(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """The store may have others, which are larger and within the limit too."""
    large = ("--width-mult", "1.4", "--size", "128", *CPU, "--store", "both.db")
    small = ("--width-mult", "0.35,0.5", "--size", "64,96", *CPU, "--store", "both.db")
    for options in (large, small):
        done = mnfpn("recommend", *options, "--max-latency", "9s", "--json")
        assert done.code == 0, done.err
    (found,) = json.loads(done.out)["recommendations"]
    assert found["measured"] == 4
    assert found["picks"][0]["settings"]["width_mult"] == 0.5


def test_what_cannot_be_predicted_is_said(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """How many runs are missing, which machines and runtimes the store has; never a traceback."""
    learn(mnfpn, 3)
    for words in (
        ("report", "--predict"),
        ("predict", *SPACE, *CPU),
        ("recommend", "--predict", "--max-latency", "1s"),
    ):
        few = mnfpn(words[0], "--store", "runs.db", *words[1:])
        assert few.code == 1
        assert "3 measured runs cannot predict others: 7 more are needed" in few.err
    learn(mnfpn, 12)
    phone = mnfpn("predict", "--store", "runs.db", "--size", "64", "--machine", "a phone")
    assert phone.code == 2
    assert "--machine: must be a machine that the store has measured runs of (" in phone.err
    fused = mnfpn("predict", "--store", "runs.db", "--size", "64", "--runtime", "fused", *CPU)
    assert fused.code == 1
    assert "no run was measured with fused on cpu" in fused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", *SPACE, "--predict", "--measure", "none"), "--predict: needs measured runs"),
        (("sweep", *SPACE, "--predict"), "--store: must be given"),
        (("sweep", "--resume", "--predict", "--store", "runs.db"), "--predict: cannot be used with --resume"),
        (("recommend", "--max-latency", "1s"), "must have --store STORE, or networks to choose from"),
        (("recommend", "--max-latency", "1s", "--device", "cpu"), "must have --store STORE"),
        (("recommend", *SPACE), "must have a budget"),
        (("recommend", *SPACE, "--max-latency", "1s", "--predict"), "--predict: cannot be used with networks"),
        (("recommend", *SPACE, "--max-latency", "1s", "--metric", "map"), "--metric: must be macs or imagenet-top1"),
        (("predict", "--size", "64"), "--store"),
        (("predict", "--store", "none.db", "--size", "64"), "there is no file 'none.db'"),
        (("report", "--store", "none.db", "--predict"), "there is no file 'none.db'"),
    ],
)
def test_wrong_usage(mnfpn: Mnfpn, pools: PlantedPools, words: tuple[str, ...], message: str) -> None:
    """Is refused before anything is measured."""
    done = mnfpn(*words)
    assert done.code == 2, done
    assert message in " ".join(done.err.split())
    assert pools.measured == 0


def test_a_missing_package(mnfpn: Mnfpn, pools: PlantedPools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named with the command that installs it, before anything is measured."""
    monkeypatch.setattr(predictions, "find_spec", lambda _name: None)
    done = mnfpn("sweep", *SPACE, "--predict", "--store", "runs.db")
    assert done.code == 1
    assert "predictions need SciPy, which is not installed: pip install 'mnfpn[predict]'" in done.err
    assert pools.measured == 0


def test_a_dry_run_says_how_many_at_most(mnfpn: Mnfpn, pools: PlantedPools) -> None:
    """Without writing to the store."""
    done = mnfpn("sweep", *SPACE, "--predict", "--measure", "20", "--store", "runs.db", "--dry-run", "--json")
    document = json.loads(done.out)
    assert (document["chosen"], document["expected"]["runs"]) == (20, 20)
    assert not Path("runs.db").exists()

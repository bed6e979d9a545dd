"""What runs are compared by: measured scores, then published accuracy where all have it, then MACs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from mnfpn_cli.accuracy.published import IMAGENET
from mnfpn_cli.errors import UsageError
from mnfpn_cli.report.units import score
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import plan_runs
from mnfpn_cli.space.runs import Execution, run_key
from mnfpn_cli.store.rows import StoredRun, StoredScore
from mnfpn_cli.sweep.objective import (
    BY_MACS,
    MACS,
    MACS_ASKED,
    check_unscored_metric,
    choose_objective,
    score_records,
)
from tests.accuracy.classifiers import classifier
from tests.store.made import MACHINE, result


def run(
    settings: NetworkSettings, side: int = 224, dtype: DType = "float32", scores: Mapping[str, float] | None = None
) -> StoredRun:
    """A measured run, with measured scores."""
    (planned,) = plan_runs(settings, Size(side, side), [Execution(device="cpu", dtype=dtype)])
    stored = {name: StoredScore(name, value, "a test", "2026-01-01") for name, value in (scores or {}).items()}
    return StoredRun(run_key(planned.run, MACHINE), planned, MACHINE, "done", result(1), stored)


def printed(runs: Sequence[StoredRun], metric: str | None = None) -> tuple[str, list[str]]:
    """The metric, and the score of each run as tables have it."""
    found = choose_objective(runs, metric)
    return found.metric, [score(found.scores[one.key]) for one in runs if one.key in found.scores]


PUBLISHED = [run(classifier(1.0)), run(classifier(0.5), 128)]
ESTIMATED = [run(classifier(0.6), 200), run(classifier(0.8), 150)]
PYRAMID = run(NetworkSettings())
INT8 = run(classifier(1.0), dtype="int8")


def test_published_accuracy_is_the_objective_where_every_run_has_it() -> None:
    """The words say where it is from, and whose training it is of."""
    assert printed(PUBLISHED) == (IMAGENET, ["71.8", "57.7"])
    words = choose_objective(PUBLISHED, None).words
    assert "published of Google's checkpoints" in words
    assert "estimated" not in words
    assert "your own" in words


def test_estimates_are_marked_and_the_words_say_that_they_are_mixed() -> None:
    """As many as there are."""
    assert printed([*PUBLISHED, *ESTIMATED]) == (IMAGENET, ["71.8", "57.7", "66.5 ± 0.7", "66.0 ± 0.7"])
    words = choose_objective([*PUBLISHED, *ESTIMATED[:1]], None).words
    assert "for 2 runs and, mixed with these, estimated between them for 1 (with ±)" in words
    alone = choose_objective(ESTIMATED, None).words
    assert "estimated from width and size" in alone
    assert "mixed" not in alone


@pytest.mark.parametrize("other", [PYRAMID, INT8, run(classifier(1.0), 320), run(classifier(1.0), dtype="bfloat16")])
def test_macs_are_the_objective_where_a_run_has_no_accuracy(other: StoredRun) -> None:
    """A pyramid, another dtype, a larger size; the words say how many runs have one."""
    found = choose_objective([*PUBLISHED, other], None)
    assert (found.metric, len(found.scores)) == (MACS, 3)
    assert found.words.startswith(f"{BY_MACS} 2 of 3 runs can be compared by `metric` {IMAGENET}.")
    assert choose_objective([other], None).words == BY_MACS


def test_macs_of_several_dtypes_are_said_to_be_the_same() -> None:
    """In one dtype nothing is said."""
    several = choose_objective([PYRAMID, run(NetworkSettings(), dtype="int8")], MACS)
    assert several.words == f"{MACS_ASKED} They are the same in float32, int8: what a dtype loses is not in them."
    assert choose_objective([PYRAMID], MACS).words == MACS_ASKED


def test_accuracy_can_be_asked_for_where_some_runs_have_it() -> None:
    """The others are left out, with a warning."""
    found = choose_objective([*PUBLISHED, *ESTIMATED, PYRAMID, INT8], IMAGENET)
    assert (found.metric, len(found.scores)) == (IMAGENET, 4)
    assert found.warnings == [f"2 measured runs without `metric` {IMAGENET} are left out"]


@pytest.mark.parametrize("runs", [[PYRAMID], [INT8], [PYRAMID, INT8]], ids=len)
def test_accuracy_that_no_run_has_is_refused_with_the_reason(runs: list[StoredRun]) -> None:
    """Which networks have one, and in which dtype."""
    with pytest.raises(UsageError) as caught:
        choose_objective(runs, IMAGENET)
    (problem,) = caught.value.problems
    assert (problem.where, problem.got) == ("`metric`", f"'{IMAGENET}'")
    assert "MobileNetV2's classifier in float32" in problem.rule
    assert "0.35 to 1.4" in problem.rule
    assert "96 to 224" in problem.rule


def test_measured_scores_come_first_and_are_never_mixed_with_published_ones() -> None:
    """One run with a score is enough; the others are left out, although accuracy was published of them."""
    own = run(classifier(1.0), scores={"top1": 65.0})
    found = choose_objective([own, *PUBLISHED[1:], *ESTIMATED], None)
    assert (found.metric, found.without, [one.kind for one in found.scores.values()]) == ("top1", 3, ["measured"])
    assert score_records(own).keys() == {"top1"}
    asked = choose_objective([own, *ESTIMATED], IMAGENET)
    assert [one.kind for one in asked.scores.values()] == ["published", "estimated", "estimated"]


def test_macs_can_be_asked_for_in_any_store() -> None:
    """The words do not say then that there are no scores."""
    own = run(classifier(1.0), scores={"top1": 65.0})
    for runs in ([own], PUBLISHED):
        found = choose_objective(runs, MACS)
        assert (found.metric, found.words) == (MACS, MACS_ASKED)
        assert [one.kind for one in found.scores.values()] == ["planned"] * len(runs)


def test_a_metric_that_no_run_has_is_refused_with_those_that_there_are() -> None:
    """Published accuracy is among them where a run has one."""
    own = run(classifier(1.0), scores={"map": 0.2})
    with pytest.raises(UsageError, match=r"\(imagenet-top1, macs, map\)"):
        choose_objective([own], "mpa")
    with pytest.raises(UsageError, match=r"\(macs\)"):
        choose_objective([PYRAMID], "map")


def test_a_metric_is_checked_before_anything_is_measured() -> None:
    """Without a store nothing has a score, and only some networks have a published one."""
    pyramid, published = PYRAMID.planned.run, PUBLISHED[0].planned.run
    check_unscored_metric(None, [pyramid])
    check_unscored_metric(MACS, [pyramid])
    check_unscored_metric(IMAGENET, [pyramid, published])
    with pytest.raises(UsageError, match="must be macs or imagenet-top1"):
        check_unscored_metric("map", [pyramid])
    with pytest.raises(UsageError, match="no run has this one"):
        check_unscored_metric(IMAGENET, [pyramid, INT8.planned.run])


def test_runs_that_are_not_measured_do_not_count() -> None:
    """What is still to be measured need not have an accuracy, and gets no score."""
    pending = replace(PYRAMID, status="pending", result=None)
    found = choose_objective([*PUBLISHED, pending], None)
    assert (found.metric, found.without, set(found.scores)) == (IMAGENET, 0, {one.key for one in PUBLISHED})
    assert choose_objective([pending], None).metric == MACS
    assert choose_objective([], None).metric == MACS

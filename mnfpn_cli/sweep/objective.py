"""What runs are compared by besides their latency: a metric that was measured, published accuracy, or MACs."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mnfpn_cli.accuracy.accuracy import accuracy_of
from mnfpn_cli.accuracy.published import IMAGENET
from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DEFAULT_DTYPE
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.text import counted, did_you_mean

MACS = "macs"
"""The metric where nothing has a score."""

BY_MACS = (
    "Nothing has a score, so the best run is the one with the most MACs. MACs rank Google's 22 published "
    "MobileNetV2 networks nearly as their accuracy does (Spearman 0.993, Kendall 0.954); of pyramids no such figures "
    "are known. Train the first few, and give their scores to mnfpn runs score."
)
"""Why MACs are the objective, and what to do about it (facts on the 22 points: benchmarks/README.md)."""

MACS_ASKED = "The best run is the one with the most MACs, as `metric` says."

PUBLISHED_OF = (
    "accuracy is published of MobileNetV2's classifier in float32, and estimated at widths of 0.35 to 1.4 on square "
    "images of 96 to 224 pixels"
)
"""Which runs have an accuracy without being scored."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What makes one run better than another of the same latency.

    Attributes:
        metric: the name of it; `MACS` for MACs.
        words: what it is, and why it was chosen, in sentences.
        scores: the score of each run that has one, by the key of the run. More is better.
        without: the number of runs that have none.
    """

    metric: str
    words: str
    scores: Mapping[str, ScoreRecord]
    without: int

    @property
    def warnings(self) -> list[str]:
        """A sentence about the runs without a score; none where all have one."""
        if not self.without:
            return []
        are = "is" if self.without == 1 else "are"
        return [f"{counted(self.without, 'measured run')} without `metric` {self.metric} {are} left out"]


def choose_objective(runs: Sequence[StoredRun], metric: str | None, predicted: Collection[str] = ()) -> Objective:
    """Return the objective for runs of a store.

    Args:
        runs: the runs to compare; those that are neither measured nor predicted are ignored.
        metric: the metric that was asked for; None for the one that most runs have a measured score of. Where none has
            any, it is ImageNet accuracy if that is published or estimated of every run, and else MACs.
        predicted: the keys of runs whose time is predicted.

    Raises:
        UsageError: where no measured run has a score of the metric.
    """
    timed = [one for one in runs if one.latency_s is not None or one.key in predicted]
    known = Counter(name for one in timed for name in one.scores)
    if metric is None and known:
        most = max(known.values())
        metric = min(name for name, number in known.items() if number == most)
    if metric == MACS:
        return _by_macs(timed, MACS_ASKED)
    if metric is None or metric == IMAGENET:
        accuracies = published_accuracies(timed)
        if metric or 0 < len(accuracies) == len(timed):
            return _by_accuracy(timed, accuracies)
        some = f" {len(accuracies)} of {counted(len(timed), 'run')} can be compared by `metric` {IMAGENET}."
        return _by_macs(timed, f"{BY_MACS}{some if accuracies else ''}")
    if timed and metric not in known:
        names = sorted((*known, MACS, *[IMAGENET] * bool(published_accuracies(timed))))
        rule = f"must be a metric that a measured run has a score of ({', '.join(names)})"
        raise UsageError(Problem("`metric`", rule, f"'{metric}'", did_you_mean(metric, names)))
    scores = {one.key: _measured(one, metric) for one in timed if metric in one.scores}
    others = sorted(known.keys() - {metric})
    more = f" The store also has {', '.join(others)}: choose with `metric`." if others else ""
    without = sum(one.latency_s is not None and one.key not in scores for one in timed)
    return Objective(metric, f"The best run is the one with the highest {metric}.{more}", scores, without)


def check_unscored_metric(metric: str | None, runs: Sequence[Run]) -> None:
    """Check that runs without scores can be compared by a metric, before they are measured.

    Raises:
        UsageError: where they cannot.
    """
    if metric in (None, MACS):
        return
    if metric != IMAGENET:
        rule = f"must be {MACS} or {IMAGENET} without a `store`, as nothing has a score yet"
        raise UsageError(Problem("`metric`", rule, f"'{metric}'", did_you_mean(metric or "", (MACS, IMAGENET))))
    found = (accuracy_of(one.settings, one.size) for one in runs if one.execution.dtype == DEFAULT_DTYPE)
    if not any(one and one.metric == IMAGENET for one in found):
        rule = f"must be a metric that a run has a score of, and no run has this one: {PUBLISHED_OF}"
        raise UsageError(Problem("`metric`", rule, f"'{IMAGENET}'"))


def published_accuracies(runs: Sequence[StoredRun]) -> dict[str, ScoreRecord]:
    """Return the ImageNet accuracy of runs by key: published, or estimated; of those in float32 that have one."""
    found = {one.key: accuracy_of(one.settings, one.size) for one in runs if one.execution.dtype == DEFAULT_DTYPE}
    return {key: score for key, score in found.items() if score and score.metric == IMAGENET}


def _by_macs(timed: Sequence[StoredRun], words: str) -> Objective:
    """Compare by MACs, and say what these do not tell apart."""
    dtypes = sorted({one.execution.dtype for one in timed})
    if len(dtypes) > 1:
        words += f" They are the same in {', '.join(dtypes)}: what a dtype loses is not in them."
    return Objective(MACS, words, {one.key: _macs(one) for one in timed}, 0)


def _by_accuracy(timed: Sequence[StoredRun], accuracies: Mapping[str, ScoreRecord]) -> Objective:
    """Compare by published accuracy, and say how much of it is estimated.

    Raises:
        UsageError: where no run has one.
    """
    if timed and not accuracies:
        rule = f"must be a metric that a measured run has a score of, and no run has this one: {PUBLISHED_OF}"
        raise UsageError(Problem("`metric`", rule, f"'{IMAGENET}'"))
    estimated = sum(one.kind == "estimated" for one in accuracies.values())
    published = len(accuracies) - estimated
    if not estimated:
        which = "published of Google's checkpoints"
    elif not published:
        which = "estimated from width and size, between Google's published checkpoints"
    else:
        which = (
            f"published of Google's checkpoints for {counted(published, 'run')} and, mixed with these, estimated "
            f"between them for {estimated} (with ±)"
        )
    words = (
        f"The best run is the one with the highest {IMAGENET}: accuracy in per cent, {which}. It is of Google's "
        "training in float32; scores of your own, by mnfpn runs score, come before it."
    )
    return Objective(IMAGENET, words, accuracies, len(timed) - len(accuracies))


def score_records(run: StoredRun) -> dict[str, ScoreRecord]:
    """Return the measured scores of a run, by metric."""
    return {metric: _measured(run, metric) for metric in sorted(run.scores)}


def _macs(run: StoredRun) -> ScoreRecord:
    return ScoreRecord(
        metric=MACS, value=run.figures.macs, error=None, kind="planned", source="the plan of the network", date=None
    )


def _measured(run: StoredRun, metric: str) -> ScoreRecord:
    score = run.scores[metric]
    return ScoreRecord(
        metric=metric, value=score.value, error=None, kind="measured", source=score.source, date=score.date
    )

"""Answer which run to take: predict those that are not measured, measure the promising ones, and decide again."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mnfpn_cli.documents.records import LatencyModelRecord
from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.errors import INTERRUPTED, MnfpnError, Problem
from mnfpn_cli.space.frontier import pareto
from mnfpn_cli.space.planned import Budget, PlannedSpace
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.filters import RunFilter, choose_runs
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredRun
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
from mnfpn_cli.sweep.case import SweepCase, Workers
from mnfpn_cli.sweep.command_lines import PREDICTING
from mnfpn_cli.sweep.frontier import ScoredRun, TimingGroup, scored_runs
from mnfpn_cli.sweep.objective import Objective, choose_objective
from mnfpn_cli.sweep.predictions import Predicted, for_its_kind, predict_stored
from mnfpn_cli.sweep.recommend import Recommendation, is_allowed, recommend
from mnfpn_cli.sweep.run import SweepCallbacks, run_sweep
from mnfpn_cli.sweep.start import Chosen
from mnfpn_cli.text import counted

MOST_ROUNDS = 3
"""How often promising runs are measured before the answer is given."""

MOST_PICKS = 3
"""The first runs of a frontier, of which those are measured that are only predicted: as many as a table shows."""

SMALL = 12
"""A space of at most so many runs is measured whole: a model needs nearly as many."""

TO_LEARN, OF_A_KIND = 24, 12
"""The most runs of a larger space from which the others are predicted, and the least of each kind among them."""

LEARNING_S, ANSWER_S = 330.0, 480.0
"""The time after which no more runs are measured to learn from, and that after which no promising run is."""

QUICK = SamplingRecord(min_time_s=1.0, max_time_s=5.0)
"""How runs of a space without a store are timed: a run is one of dozens, and an answer is due in minutes."""

Say = Callable[[str], None]
"""Is called with a sentence about what is done next."""


class AnswerInterruptedError(MnfpnError):
    """A signal ended the measuring before there was an answer."""

    exit_code = INTERRUPTED


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for.

    Attributes:
        budget: the limits.
        filters: select the runs to choose from.
        metric: what they are chosen by; None for the metric that most runs have.
        among: the runs to choose from; None for all of the store.
    """

    budget: Budget
    filters: Sequence[RunFilter] = ()
    metric: str | None = None
    among: frozenset[Run] | None = None

    def concerns(self, run: StoredRun) -> bool:
        """Return whether a run is one to choose from, by itself."""
        return self.among is None or run.planned.run in self.among


@dataclass(frozen=True, slots=True)
class Promise:
    """A run that is only predicted, with a score."""

    run: StoredRun
    predicted: Predicted
    score: float

    @property
    def seconds(self) -> float:
        """The predicted time."""
        return self.predicted.prediction.seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What is recommended, always of runs that were measured.

    Attributes:
        recommendations: the recommendation for each group of comparable runs.
        objective: what runs are chosen by.
        baselines: the baseline timings of the store.
        predicted: the number of runs that were considered by their predicted times.
        checked: the number of runs that were measured because these were promising.
        models: the models that predicted.
        warnings: reasons to trust the answer less.
    """

    recommendations: tuple[Recommendation, ...]
    objective: Objective
    baselines: tuple[BaselineTiming, ...]
    predicted: int = 0
    checked: int = 0
    models: tuple[LatencyModelRecord, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was measured of a space: whether its other runs are to be predicted, and why runs are missing."""

    predict: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a store has: its measured runs that the question is about, its promises, and what is said of these."""

    measured: list[StoredRun]
    promises: list[Promise]
    objective: Objective
    baselines: tuple[BaselineTiming, ...]
    measuring: MeasuringRecord
    models: tuple[LatencyModelRecord, ...]
    warnings: tuple[str, ...]


def answer(
    name: str,
    question: Question,
    predict: bool,
    callbacks: SweepCallbacks,
    say: Say = lambda _line: None,
    end: float = float("inf"),
    *,
    lenient: bool = False,
) -> Answer:
    """Recommend runs of a store; with ``predict``, after measuring the first of those that are only predicted.

    Args:
        name: the file or URL of the store.
        question: what is asked for.
        predict: whether runs that were not measured are predicted and considered.
        callbacks: as for a sweep.
        say: is called with what is measured next.
        end: the moment of `time.monotonic` after which nothing more is measured.
        lenient: whether runs that cannot be predicted are a warning rather than an error.

    Raises:
        UsageError: where a filter selects no run, or no run has a score of the metric.
        MnfpnError: where the store has no measured run, or too few to predict others, or cannot be read; or where the
            machine fails.
        AnswerInterruptedError: where a signal ended the measuring.
    """
    checked, machine = 0, Workers().machine if predict else ""
    found = _read(name, question, predict, lenient)
    for _ in range(MOST_ROUNDS if predict else 0):
        wanted = [one for one in _wanted(found, question.budget) if one.target_machine == machine]
        if not wanted or time.monotonic() >= end:
            break
        say(f"measuring {counted(len(wanted), 'run')} whose predicted times are promising")
        planned = [one.planned for one in wanted]
        chosen = Chosen(planned, PlannedSpace(list(planned)), "all", PREDICTING)
        outcome = run_sweep(name, chosen, found.measuring, SweepCase(), callbacks)
        checked += outcome.result.counts.done
        if outcome.stopped:
            raise AnswerInterruptedError("interrupted before the promising runs were measured: nothing is recommended")
        found = _read(name, question, predict, lenient)
    return Answer(
        tuple(recommend(_scored_runs(found), question.budget)),
        found.objective,
        found.baselines,
        len(found.promises) + checked,
        checked,
        found.models,
        (*found.warnings, *_unmeasured(_wanted(found, question.budget), machine)),
    )


def survey(
    name: str,
    chosen: Chosen,
    latency_s: float | None,
    callbacks: SweepCallbacks,
    say: Say,
    began: float,
) -> Survey:
    """Measure a space, or so many runs of it that the others can be predicted.

    Args:
        name: the store to measure into.
        chosen: all runs of the space.
        latency_s: the limit of the budget.
        callbacks: as for a sweep.
        say: is called with what is measured.
        began: when the answer was asked for, by `time.monotonic`.

    Raises:
        MnfpnError: where no run is within the budget, none could be measured, or the store or the machine fails.
        AnswerInterruptedError: where a signal ended the measuring.
    """
    number = len(chosen.runs)
    predict = number > SMALL
    if predict:
        kinds = len({one.run.execution for one in chosen.runs})
        chosen = replace(chosen, measure=str(min(number, max(TO_LEARN, OF_A_KIND * kinds))), predict=True)
        say(f"measuring at most {chosen.measure} of {counted(number, 'run')}, to predict the others")
    else:
        say(f"measuring {counted(number, 'run')}")
    measuring = MeasuringRecord(sampling=QUICK, by_layer=predict, max_latency_s=latency_s)
    end = began + LEARNING_S if predict else float("inf")
    ended = [False]

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        with callbacks.stopping() as signalled:

            def stopped() -> bool:
                ended[0] = ended[0] or signalled()
                return ended[0] or time.monotonic() >= end

            yield stopped

    outcome = run_sweep(name, chosen, measuring, SweepCase(), replace(callbacks, stopping=stopping))
    if ended[0]:
        raise AnswerInterruptedError("interrupted: nothing is recommended")
    if not outcome.result.counts.done:
        raise MnfpnError("\n".join(outcome.failures) or "no run was measured")
    slow = outcome.result.skipped
    left_out = f"{counted(slow, 'run')} too slow for `max_latency` even at the best rate so far, and not measured"
    return Survey(predict, (*([left_out] if slow else []), *outcome.failures))


def promising(found: Sequence[ScoredRun], promises: Sequence[Promise], budget: Budget) -> list[StoredRun]:
    """Return the runs to measure before one is recommended, for each group of comparable runs.

    These are the predicted runs among the first `MOST_PICKS` of the frontier, and the one with a higher score than all
    that is within the limit of latency if its time turns out to be the shortest of its interval.

    Args:
        found: the measured runs.
        promises: the predicted ones.
        budget: the limits.
    """
    groups = defaultdict[TimingGroup, list[ScoredRun | Promise]](list)
    for one in found:
        if is_allowed(one, budget):
            groups[one.timed.group].append(one)
    maybe = defaultdict[TimingGroup, list[Promise]](list)
    limit = float("inf") if budget.latency_s is None else budget.latency_s
    for promise in promises:
        group = promise.predicted.kind.group
        if not budget.exceeded(promise.run.figures):
            if promise.seconds <= limit:
                groups[group].append(promise)
            elif promise.predicted.prediction.low <= limit:
                maybe[group].append(promise)
    wanted = list[StoredRun]()
    for group in dict.fromkeys((*groups, *maybe)):
        frontier = pareto(groups[group], _seconds, _score)[::-1]
        wanted += [one.run for one in frontier[:MOST_PICKS] if isinstance(one, Promise)]
        best = _score(frontier[0]) if frontier else float("-inf")
        better = [one for one in maybe[group] if one.score > best]
        wanted += [one.run for one in sorted(better, key=lambda one: (one.seconds, one.run.key))[:1]]
    return wanted


def _seconds(one: ScoredRun | Promise) -> float:
    return one.seconds if isinstance(one, Promise) else one.timed.seconds


def _score(one: ScoredRun | Promise) -> float:
    return one.score if isinstance(one, Promise) else one.score.value


def _wanted(found: _Stored, budget: Budget) -> list[StoredRun]:
    return promising(_scored_runs(found), found.promises, budget)


def _scored_runs(found: _Stored) -> list[ScoredRun]:
    return scored_runs(found.measured, found.baselines, found.objective)


def _read(name: str, question: Question, predict: bool, lenient: bool) -> _Stored:
    """Read the runs that a question is about, and predict those that are not measured.

    Raises:
        UsageError: where a filter selects no run, or no run has a score of the metric.
        MnfpnError: where the store has no measured run, or too few to predict others, or cannot be read.
    """
    with open_store(name) as store:
        runs, baselines = read_runs(store, status=None if predict else "done"), tuple(read_baselines(store))
        done = [one for one in runs if one.status == "done"]
        if not done:
            raise MnfpnError(Problem("`store`", f"no run in {store.name} is measured yet"))
        measuring = read_sweeps(store)[-1].plan.measuring.model_copy(update={"max_latency_s": None})
    measured = choose_runs([one for one in done if question.concerns(one)], question.filters, "measured runs")
    if not predict:
        objective = choose_objective(measured, question.metric)
        return _Stored(measured, [], objective, baselines, measuring, (), ())
    try:
        concerned = [one for one in runs if question.concerns(one)]
        predicted, predictions = predict_stored(concerned, done, baselines)
    except MnfpnError as error:
        if not lenient:
            raise
        objective = choose_objective(measured, question.metric)
        return _Stored(measured, [], objective, baselines, measuring, (), (f"nothing is predicted: {error.message}",))
    pending = [
        one
        for one in runs
        if one.key in predicted and _is_kept(for_its_kind(one, predicted[one.key]), question.filters)
    ]
    objective = choose_objective([*measured, *pending], question.metric, predicted)
    promises = [
        Promise(one, predicted[one.key], objective.scores[one.key].value)
        for one in pending
        if one.key in objective.scores
    ]
    warnings = tuple(predictions.warnings)
    return _Stored(measured, promises, objective, baselines, measuring, predictions.models, warnings)


def _is_kept(run: StoredRun, filters: Sequence[RunFilter]) -> bool:
    return all(one.keeps(one.of(run)) for one in filters)


def _unmeasured(wanted: Sequence[StoredRun], machine: str) -> list[str]:
    """Say that predicted runs may be better than those that are recommended, and were not measured."""
    elsewhere = sorted({one.target_machine for one in wanted} - {machine})
    lines = []
    if here := sum(one.target_machine == machine for one in wanted):
        lines.append(
            f"{counted(here, 'run')} may be better still by predicted times: mnfpn recommend `predict` again "
            "measures the first of them"
        )
    if elsewhere:
        number = sum(one.target_machine != machine for one in wanted)
        lines.append(
            f"{counted(number, 'run')} may be better by predicted times, and can be measured there alone: "
            f"{'; '.join(elsewhere)}"
        )
    return lines

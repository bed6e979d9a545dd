"""Recommend runs within a budget: of a store, or of a space that is measured and predicted for the answer."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import check_flags, file_name, optional, whole_number, words
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.api.sweeping import Quantity, read_budget, report_state, space_of, text_of
from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mnfpn_cli.api.arguments import FileName
    from mnfpn_cli.documents.report import RecommendDocument
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.space.planned import Budget
    from mnfpn_cli.sweep.answer import Answer, Question, Say
    from mnfpn_cli.sweep.run import SweepCallbacks
    from mnfpn_cli.text import ReportProgress


def recommend(
    store: FileName | None = None,
    space: Mapping[str, Any] | FileName | None = None,
    *,
    predict: bool = False,
    max_latency: Quantity | None = None,
    max_macs: Quantity | None = None,
    max_parameters: Quantity | None = None,
    max_memory: Quantity | None = None,
    min_levels: int | None = None,
    device: str | None = None,
    runtimes: str | Sequence[str] | None = None,
    batch: int | None = None,
    metric: str | None = None,
    progress: Progress = None,
) -> RecommendDocument:
    """Recommend measured runs within a budget: those with the highest score first, and what more would cost.

    Of a space, the runs that teach most are measured first, the others are predicted, and the promising ones measured.
    A run that was only predicted is never recommended.

    Args:
        store: an SQLite file or PostgreSQL URL; of a space, where its runs are stored; without one, nowhere.
        space: the choices of each key, as for `sweep`; without one, the runs of the store.
        predict: whether to consider runs of the store that are pending too, by predicted times: those that are
            promising are measured before any is recommended.
        max_latency: the most time of a pass, as ``"30ms"`` or in seconds.
        max_macs: the most MACs per image, as ``"5G"`` or a number.
        max_parameters: the most parameters, as ``"4M"`` or a number.
        max_memory: the most memory of an inference pass, as ``"200MiB"`` or in bytes.
        min_levels: the fewest pyramid levels.
        device: only runs of this device.
        runtimes: only runs of these runtimes.
        batch: only runs with this many images in a batch.
        metric: the metric that the store has scores of, as ``"map"``, or ``"macs"``; without it, the one that most runs
            have, and MACs where none has.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Returns:
        The document; ``picks`` is empty where no run is within the budget.

    Raises:
        UsageError: where no limit is given, an argument is wrong, or the store has no such run.
        MnfpnError: where the store cannot be read, has no measured run or too few to predict others, or the machine
            fails.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> mnfpn.recommend("none.db", max_latency="30ms")
        Traceback (most recent call last):
        mnfpn_cli.errors.UsageError: store: must be a store, but there is no file 'none.db'
    """
    check_flags(predict=predict)
    given = {"max_macs": max_macs, "max_parameters": max_parameters, "max_memory": max_memory}
    limits, texts = read_budget({**given, "min_levels": min_levels, "max_latency": max_latency})
    if not texts:
        names = ", ".join((*given, "min_levels", "max_latency"))
        raise UsageError(Problem("recommend", f"must have a budget ({names})"))
    images = optional(whole_number, "batch", batch, 1)
    named = None if runtimes is None else ",".join(words("runtimes", runtimes))
    on = None if device is None else words("device", device)[0]
    name = None if store is None else file_name("store", store)
    stated = None if space is None else space_of(space)
    if name is None and stated is None:
        raise UsageError(Problem("recommend", "must have a `store`, or a `space` to measure"))
    filters = {"predict": predict, "device": device, "runtimes": runtimes, "batch": batch}
    if stated is not None and (given_filters := [f"`{key}`" for key, value in filters.items() if value]):
        rule = "cannot be used with `space`, which names its own runs, and predicts them where there are many"
        raise UsageError(Problem(", ".join(given_filters), rule))
    from mnfpn_cli.store.filters import run_filters
    from mnfpn_cli.sweep.answer import Question
    from mnfpn_cli.sweep.run import SweepCallbacks

    by = None if metric is None else words("metric", metric)[0]
    question = Question(limits, run_filters(on, named, images), by)
    with reporting(progress) as report:
        callbacks = SweepCallbacks(bar=lambda _runs: nullcontext(partial(report_state, report)))
        if stated is None:
            assert name is not None
            return recommended(name, question, texts, predict, callbacks)
        command = f"mnfpn_cli.api.recommend(space={text_of(space)})"
        return recommended_of_space(name, stated, question, texts, command, lambda: nullcontext(report), callbacks)


def recommended(
    store: str,
    question: Question,
    given: Mapping[str, str],
    predict: bool,
    callbacks: SweepCallbacks,
    say: Say = lambda _line: None,
) -> RecommendDocument:
    """Recommend runs of a store.

    Args:
        store: the file or URL.
        question: what is asked for.
        given: the limits as they were given, by parameter.
        predict: whether to consider pending runs by predicted times, and to measure the promising ones.
        callbacks: as for a sweep.
        say: is called with what is measured next.

    Raises:
        UsageError: where a filter selects no run, or no run has a score of the metric.
        MnfpnError: where the store cannot be read, has no measured run or too few to predict others, or the machine
            fails.
    """
    from mnfpn_cli.sweep.answer import answer

    return _document(answer(store, question, predict, callbacks, say), question.budget, given)


def recommended_of_space(
    store: str | None,
    space: Space,
    question: Question,
    given: Mapping[str, str],
    command: str,
    planning: Callable[[], AbstractContextManager[ReportProgress]],
    callbacks: SweepCallbacks,
    say: Say = lambda _line: None,
) -> RecommendDocument:
    """Measure and predict the runs of a space, and recommend among them.

    Args:
        store: the file or URL where results are kept; None for nowhere.
        space: the runs.
        question: what is asked for.
        given: the limits as they were given, by parameter.
        command: what asks, for the record of its sweep.
        planning: shows the progress of planning the space.
        callbacks: as for a sweep.
        say: is called with what is measured next.

    Raises:
        UsageError: where no combination is a valid network.
        MnfpnError: where no run is within the budget, none could be measured, or the store or the machine fails.
    """
    from mnfpn_cli.sweep.answer import ANSWER_S, SMALL, answer, survey
    from mnfpn_cli.sweep.case import SweepCase
    from mnfpn_cli.sweep.objective import check_unscored_metric
    from mnfpn_cli.sweep.predictions import check_installed
    from mnfpn_cli.sweep.run import plan_sweep

    began, budget = time.monotonic(), question.budget
    with planning() as progress:
        chosen = plan_sweep(space, budget, SweepCase(), command, progress)
    if len(chosen.runs) > SMALL:
        check_installed()
    if store is None:
        check_unscored_metric(question.metric, [one.run for one in chosen.runs])
    question = replace(question, among=frozenset(one.run for one in chosen.runs))
    with TemporaryDirectory() if store is None else nullcontext() as folder:
        name = store if folder is None else str(Path(folder) / "runs.db")
        assert name is not None
        measured = survey(name, chosen, budget.latency_s, callbacks, say, began)
        found = answer(name, question, measured.predict, callbacks, say, began + ANSWER_S, lenient=True)
        return _document(replace(found, warnings=(*measured.warnings, *found.warnings)), budget, given)


def _document(found: Answer, budget: Budget, given: Mapping[str, str]) -> RecommendDocument:
    from mnfpn_cli.report.terminal.sweep import moved_lines
    from mnfpn_cli.sweep.drift import moved_baselines
    from mnfpn_cli.sweep.recommend import recommend_document

    warnings = (*moved_lines(moved_baselines(found.baselines)), *found.warnings)
    document = recommend_document(found.recommendations, found.objective, budget, given, warnings)
    figures = {"predicted": found.predicted, "checked": found.checked, "models": found.models}
    return document.model_copy(update=figures)

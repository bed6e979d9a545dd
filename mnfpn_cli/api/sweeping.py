"""Sweep a design space: plan every network of it, measure the chosen ones, and recommend one within a budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import (
    check_flags,
    file_name,
    optional,
    quantity,
    real_number,
    sampling_values,
    type_of,
    whole_number,
    words,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.measuring import check_timeout
from mnfpn_cli.space.planned import Budget, parse_bytes, parse_count, parse_duration
from mnfpn_cli.space.read import merge_axes, read_space, space_axes
from mnfpn_cli.sweep.parameters import (  # noqa: TID253 - imports nothing heavy
    check_measure,
    check_parameters,
    check_predict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mnfpn_cli.api.arguments import FileName, Share
    from mnfpn_cli.documents.sweep import MeasuredDocument, PlannedDocument
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.sweep.case import SweepCase
    from mnfpn_cli.sweep.run import SweepCallbacks, SweepOutcome
    from mnfpn_cli.sweep.state import State
    from mnfpn_cli.text import ReportProgress

Quantity = str | float
"""A quantity with a unit, as ``"5G"``, ``"64MiB"`` or ``"30ms"``; or a number of MACs, parameters, bytes or seconds."""

SPACE_RULE = "must be a dictionary of choices, or the name of a JSON file"


def sweep(
    space: Mapping[str, Any] | FileName | None = None,
    *,
    store: FileName | None = None,
    measure: str | int = "all",
    predict: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    again: bool = False,
    retry_failed: bool = False,
    max_macs: Quantity | None = None,
    max_parameters: Quantity | None = None,
    max_memory: Quantity | None = None,
    min_levels: int | None = None,
    max_latency: Quantity | None = None,
    by_layer: bool = False,
    precision: Share | None = None,
    passes: int | None = None,
    max_time: float | None = None,
    min_time: float | None = None,
    warmup: int | None = None,
    baseline_every: int | None = None,
    run_timeout: float | None = None,
    score_command: str | None = None,
    score_timeout: float | None = None,
    ray: str | None = None,
    accelerator: str | None = None,
    progress: Progress = None,
) -> PlannedDocument | MeasuredDocument:
    """Plan every network of a design space, and measure the chosen ones, each in its own process.

    After Ctrl-C, a `KeyboardInterrupt` is raised; what was measured is in the store, and ``resume=True`` continues.

    Args:
        space: the choices of each key: a dictionary, as ``{"width_mult": [0.5, 1.0], "size": ["320", "600x900"]}``, or
            the name of a JSON file. Keys are those of settings, and size, batch, runtime, device, dtype, threads,
            allocator and train; a range is ``{"from": 0.5, "to": 1.0, "step": 0.25}``.
        store: an SQLite file or PostgreSQL URL for the results; without one, the space is only planned.
        measure: ``"all"``, ``"none"``, or a number of runs, from the fewest MACs to the most.
        predict: whether to measure only the runs that teach most, until the others can be predicted, and ``measure`` at
            most; `recommend` predicts the others.
        resume: whether to measure the runs that earlier sweeps of the store left, instead of a space.
        dry_run: whether only to plan, and to estimate the time.
        again: whether to measure runs that the store has results of, too.
        retry_failed: whether to measure runs that failed before, too.
        max_macs: the most MACs per image, as ``"5G"`` or a number.
        max_parameters: the most parameters, as ``"4M"`` or a number.
        max_memory: the most memory of an inference pass, as ``"200MiB"`` or in bytes.
        min_levels: the fewest pyramid levels.
        max_latency: the most time of a pass, as ``"30ms"`` or in seconds; slower runs are not measured.
        by_layer: whether to time each layer too.
        precision: the 95 % interval of the median within which to stop, as ``"1%"`` or ``0.01`` of it.
        passes: how many passes to time instead.
        max_time: the seconds after which to stop timing, precise or not.
        min_time: the least seconds to spend on timing.
        warmup: passes of warm-up; until their times are steady where it is not given.
        baseline_every: the number of runs after which the baseline run is repeated; 10 where it is not given.
        run_timeout: the time after which a run is stopped, in seconds; 900 where it is not given.
        score_command: trains each measured network and gives its scores, as ``"python train.py {config} {output}"``:
            it reads the settings in JSON, and writes scores of which more is better, as
            ``{"map": 0.231}``; ``{size}``, ``{dtype}`` and ``{key}`` may be in it.
        score_timeout: the time after which a training is stopped, in seconds; 86400 where it is not given.
        ray: the address of a Ray cluster to measure on: ``auto``, ``local`` or ``ray://host:10001``.
        accelerator: the kind of GPUs of the cluster to use, as ``H100``.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Returns:
        The plan of the space, where nothing is measured; else the runs, where those that failed are in ``failed`` and
        those that no worker can run in ``not_run``.

    Raises:
        UsageError: where an argument is wrong, or no combination is a valid network.
        MnfpnError: where the store or the workers fail, or nothing is within the budget.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> document = mnfpn.sweep({"width_mult": [0.5, 0.75, 1.0], "size": ["320", "640"]}, max_macs="20G")
        >>> document.runs, document.over_budget
        (6, {'max_macs': 3})
    """
    flags = {"resume": resume, "dry_run": dry_run, "again": again, "retry_failed": retry_failed, "by_layer": by_layer}
    flags["predict"] = predict
    check_flags(**flags)
    chosen_by = check_measure(measure) if isinstance(measure, str) else str(whole_number("measure", measure, 1))
    check_predict(predict, chosen_by)
    name = None if store is None else file_name("store", store)
    budget = {"max_macs": max_macs, "max_parameters": max_parameters, "max_memory": max_memory}
    budget |= {"min_levels": min_levels, "max_latency": max_latency}
    timing = {"precision": precision, "passes": passes, "max_time": max_time, "min_time": min_time, "warmup": warmup}
    others = {"baseline_every": baseline_every, "run_timeout": run_timeout, "ray": ray, "accelerator": accelerator}
    others |= {"score_command": score_command, "score_timeout": score_timeout}
    values = {**budget, **timing, **flags, **others, "measure": None if chosen_by == "all" else chosen_by}
    given = [one for one, value in values.items() if value is not None and value is not False]
    check_parameters(given, ["space"] * (space is not None), name)
    if name is None and resume:
        raise UsageError(Problem("`store`", "must be given, to resume its sweeps"))
    if not resume and space is None:
        raise UsageError(Problem("`space`", SPACE_RULE, "none"))
    limits, _ = read_budget(budget)
    from mnfpn_cli.documents.sweep import PlannedDocument
    from mnfpn_cli.documents.worker import sampling_record
    from mnfpn_cli.sweep.case import SweepCase
    from mnfpn_cli.sweep.run import SweepCallbacks

    case = SweepCase(
        **flags,
        measure=chosen_by,
        sampling=sampling_record(**sampling_values(precision, passes, max_time, min_time, warmup)),
        baseline_every=optional(whole_number, "baseline_every", baseline_every, 1),
        run_timeout=optional(_timeout, "run_timeout", run_timeout),
        score_timeout=optional(_timeout, "score_timeout", score_timeout),
        score_command=None if score_command is None else words("score_command", score_command)[0],
        ray=ray,
        accelerator=accelerator,
    )
    notes = list[str]()
    with reporting(progress) as report:
        callbacks = SweepCallbacks(bar=lambda _runs: nullcontext(partial(report_state, report)), note=notes.append)
        stated = space_of({} if resume else space)
        if by_layer:
            _check_inference(stated)
        command = f"mnfpn_cli.api.sweep({text_of(space)})"
        found = swept(name, stated, limits, case, command, lambda: nullcontext(report), callbacks)
    return found if isinstance(found, PlannedDocument) else outcome_document(found, notes)


def swept(
    store: str | None,
    space: Space,
    budget: Budget,
    case: SweepCase,
    command: str,
    planning: Callable[[], AbstractContextManager[ReportProgress]],
    callbacks: SweepCallbacks,
) -> PlannedDocument | SweepOutcome:
    """Plan a space, and measure the chosen runs; or resume the sweeps of a store.

    Args:
        store: the file or URL; None where the space is only planned.
        space: the runs; unused where sweeps are resumed.
        budget: the limits of a run.
        case: which of the runs to measure, and how.
        command: what starts the sweep, for its record.
        planning: shows the progress of planning the space.
        callbacks: what is called while runs are measured.

    Returns:
        The plan of the space, where nothing is measured; else what was measured.

    Raises:
        UsageError: where no combination is a valid network, or the command cannot train the networks.
        MnfpnError: where nothing is within the budget, or the store or the workers fail.
    """
    from mnfpn_cli.sweep.run import defer_sweep, expected_time, plan_sweep, resume_sweeps, run_sweep
    from mnfpn_cli.sweep.start import space_document

    if case.resume:
        assert store is not None
        return resume_sweeps(store, case, callbacks)
    with planning() as progress:
        chosen = plan_sweep(space, budget, case, command, progress)
    given = (chosen, case.measuring(budget.latency_s), case)
    if store is None or case.dry_run:
        return space_document(chosen, expected_time(store, *given) if chosen.runs else None)
    if case.measure == "none":
        return space_document(defer_sweep(store, *given, callbacks), None)
    return run_sweep(store, *given, callbacks)


def outcome_document(outcome: SweepOutcome, notes: Sequence[str] = ()) -> MeasuredDocument:
    """Return the document of what a call measured; ``notes``: warnings besides."""
    from mnfpn_cli.report.terminal.sweep import result_warnings
    from mnfpn_cli.sweep.command_lines import after_sweep
    from mnfpn_cli.sweep.state import swept_document

    warnings = (*result_warnings(outcome.result.reused, outcome.result.moved), *notes)
    return swept_document(outcome.result, after_sweep(outcome.result.store, bool(outcome.result.models)), warnings)


def read_budget(given: Mapping[str, Any]) -> tuple[Budget, dict[str, str]]:
    """Return the limits, and those that are given as text, by parameter.

    Raises:
        UsageError: where one is malformed.
    """

    def limit(name: str, parse: Callable[[str, str], Any], unit: str = "") -> Any:
        return None if given[name] is None else quantity(name, given[name], parse, unit)

    budget = Budget(
        limit("max_macs", parse_count),
        limit("max_parameters", parse_count),
        limit("max_memory", parse_bytes),
        optional(whole_number, "min_levels", given["min_levels"], 1),
        limit("max_latency", parse_duration, "s"),
    )
    units = {"max_latency": "s", "max_memory": "B"}
    texts = {
        name: value if isinstance(value, str) else f"{value}{units.get(name, '')}"
        for name, value in given.items()
        if value is not None
    }
    return budget, texts


def _check_inference(space: Space) -> None:
    """Check that no run trains.

    Raises:
        UsageError: where one does.
    """
    if any(axis.key == "train" and True in axis.values for axis in space.axes):
        rule = "cannot be used with train, since layers are timed in inference passes"
        raise UsageError(Problem("`by_layer`", rule))


def _timeout(where: str, value: Any) -> float:
    return check_timeout(f"`{where}`", real_number(where, value))


def space_of(space: Mapping[str, Any] | FileName | None) -> Space:
    """Return the space of a dictionary, or of a file.

    Raises:
        UsageError: where it is malformed.
        MnfpnError: where the file cannot be read.
    """
    if isinstance(space, Mapping):
        return merge_axes(space_axes("space", json.loads(text_of(space))))
    if isinstance(space, list | tuple | set):
        raise UsageError(Problem("`space`", SPACE_RULE, type_of(space)))
    return merge_axes(read_space(Path(file_name("space", space))))


def text_of(space: Mapping[str, Any] | FileName | None) -> str:
    """Return the text of a space for the record of its sweep.

    Raises:
        UsageError: where JSON cannot say it.
    """
    try:
        return json.dumps(dict(space) if isinstance(space, Mapping) else str(space))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(Problem("`space`", f"must be what JSON can say: {error}")) from None


def report_state(report: ReportProgress, state: State) -> None:
    """Report the share of a sweep's runs that are measured."""
    report("measuring", (state.total - state.left) / state.total if state.total else 1.0)

"""`mnfpn recommend` as tables: for each machine the best runs within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.terminal.models import model_lines, predicted_note
from mnfpn_cli.report.terminal.run_tables import (
    RunNames,
    columns_of,
    dtype_of_all,
    runs_report,
    time_columns,
    time_notes,
)
from mnfpn_cli.report.terminal.tables import Line, Report, command, note, warning
from mnfpn_cli.report.units import count, scaled, score, seconds, size_in_bytes
from mnfpn_cli.text import counted, percent, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnfpn_cli.documents.report import PickRecord, RecommendationRecord, RecommendDocument, StepRecord

MOST_PICKS = 3
"""The most runs of a table, besides the next step; JSON has them all."""


def recommend_report(document: RecommendDocument) -> Report:
    """For each machine the best runs, the reasons, the cost of the next step, and the commands to type next."""
    budget = ", ".join(f"`{name}` {value}" for name, value in document.budget.items())
    report: Report = []
    for found in document.recommendations:
        where = f"{found.device} ({found.machine}), batch {found.batch}{', training steps' * found.train}"
        if not found.picks:
            report.append(_none_within(found, where, budget))
            continue
        report += [*_table(found, f"Within {budget} on {where}", document.metric), *_reasons(found, document)]
        report += [command(f"{what:8} {line}", "bold") for what, line in found.picks[0].commands]
    considered = [predicted_note(document.predicted, document.checked)] if document.predicted else []
    about = [*considered, *model_lines(document.models), *(warning(line) for line in document.warnings)]
    return [*report, *about, note(document.objective, "dim")]


def _none_within(found: RecommendationRecord, where: str, budget: str) -> Line:
    """Say that no run is within the budget, and name the fastest."""
    fastest = found.fastest
    name = f"{fastest.name}, {fastest.size}, {fastest.runtime}"
    none = f"none of {counted(found.measured, 'measured run')} is within {budget}"
    return note(f"{where}: {none}; fastest {seconds(fastest.seconds)}: {name}.")


def _table(found: RecommendationRecord, title: str, metric: str) -> Report:
    """The first picks, and below a line the next step."""
    first = found.picks[:MOST_PICKS]
    picks = [*first, *([found.step] if found.step else [])]
    costs = [pick.cost for pick in picks]
    names = RunNames(
        columns_of([pick.identity for pick in picks]),
        {
            ">Size": [pick.size for pick in picks],
            "Runtime": [pick.runtime for pick in picks],
            **dtype_of_all([pick.dtype for pick in picks]),
        },
    )
    figures = {
        **({} if metric == "macs" else {f">{printable(metric)}": [score(pick.score) for pick in picks]}),
        **time_columns(picks),
        ">MACs": [scaled(cost.macs) for cost in costs],
        ">Parameters": [scaled(cost.parameters) for cost in costs],
        ">Memory": [size_in_bytes(cost.planned_memory_bytes) for cost in costs],
    }
    ranks = {"": [*(str(index + 1) for index in range(len(first))), *(["next"] if found.step else [])]}
    section = len(first) if found.step else None
    return [*runs_report(printable(title), names, figures, ranks, section=section), *time_notes(picks)]


def _reasons(found: RecommendationRecord, document: RecommendDocument) -> Report:
    """Why the first pick is the best, whether its latency is certain, and what the next step costs."""
    first, step = found.picks[0], found.step
    budget = ", ".join(f"`{name}` {value}" for name, value in document.budget.items())
    are = "is" if found.within == 1 else "are"
    within = f"{count(found.within)} of {counted(found.measured, 'measured run')} {are} within {budget}"
    best = "the most MACs" if first.score.kind == "planned" else f"the highest {first.score.metric}"
    lines = [f"{within}; the first has {best}: {score(first.score)}."]
    if not first.within_surely:
        why = "Its 95 % interval reaches beyond the limit" if first.latency_s.ci95 else "It has no 95 % interval"
        lines.append(f"{why}: measure it for longer before you rely on it.")
    lines.append(
        _step_up(first, step, document.budget) if step else f"No measured run has {_more(first)}, at any cost."
    )
    return [note(line) for line in lines]


def _more(pick: PickRecord) -> str:
    return "more MACs" if pick.score.kind == "planned" else f"a higher {pick.score.metric}"


def _step_up(first: PickRecord, step: StepRecord, budget: Mapping[str, str]) -> str:
    """The cost of the next step relative to the first pick, in the quantities that are limited, and its score."""
    interval = step.ratio_ci95
    bounds = f", 95 % {percent(interval[0] - 1, '+.0f')} to {percent(interval[1] - 1, '+.0f')}" if interval else ""
    costs = [f"{_change(step.seconds - first.seconds, seconds)} ({percent(step.ratio - 1, '+.0f')}{bounds})"]
    limited = {
        "max_macs": (first.cost.macs, step.cost.macs, scaled, " MACs"),
        "max_parameters": (first.cost.parameters, step.cost.parameters, scaled, " parameters"),
        "max_memory": (first.cost.planned_memory_bytes, step.cost.planned_memory_bytes, size_in_bytes, " of memory"),
    }
    for name, (before, after, words, unit) in limited.items():
        if name in budget and before:
            costs.append(f"{_change(after - before, words)}{unit} ({percent(after / before - 1, '+.0f')})")
    has = "" if first.score.kind == "planned" else f" and has {score(step.score)} instead of {score(first.score)}"
    return f"The next step up, with {_more(first)}, takes {', '.join(costs)}{has}."


def _change(difference: float, words: Callable[[Any], str]) -> str:
    return f"{words(abs(difference))} {'more' if difference >= 0 else 'less'}"

"""`mnfpn recommend` as tables: for each machine the best runs within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.terminal.run_tables import RunNames, columns_of, dtype_of_all, runs_report
from mnfpn_cli.report.terminal.tables import Line, Report, command, note, warning
from mnfpn_cli.report.units import CAPACITY, count, scaled, seconds, size_in_bytes
from mnfpn_cli.text import counted, percent, printable

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import CapacityRecord
    from mnfpn_cli.documents.report import PickRecord, RecommendationRecord, RecommendDocument

MOST_PICKS = 3
"""The most runs of a table, besides the next step; JSON has them all."""

OBJECTIVE = f"The best run here is the one with the most capacity. {CAPACITY} Train the first few, and compare."
"""The rule by which a run is recommended."""


def recommend_report(document: RecommendDocument) -> Report:
    """For each machine the best runs, the reasons, the cost of the next step, and the commands to type next."""
    budget = ", ".join(f"`{name}` {value}" for name, value in document.budget.items())
    report: Report = []
    for found in document.recommendations:
        where = f"{found.device} ({found.machine}), batch {found.batch}{', training steps' * found.train}"
        if not found.picks:
            report.append(_none_within(found, where, budget))
            continue
        report += [*_table(found, f"Within {budget} on {where}"), *_reasons(found, budget)]
        report += [command(f"{what:8} {line}", "bold") for what, line in found.picks[0].commands]
    return [*report, *(warning(line) for line in document.warnings), note(document.objective, "dim")]


def _none_within(found: RecommendationRecord, where: str, budget: str) -> Line:
    """Say that no run is within the budget, and name the fastest."""
    fastest = found.fastest
    name = f"{fastest.name}, {fastest.size}, {fastest.runtime}"
    none = f"none of {counted(found.measured, 'measured run')} is within {budget}"
    return note(f"{where}: {none}; fastest {seconds(fastest.latency_s.median)}: {name}.")


def _table(found: RecommendationRecord, title: str) -> Report:
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
        ">Median": [seconds(pick.latency_s.median) for pick in picks],
        ">±95 %": [half_width(pick.latency_s.median, pick.latency_s.ci95) for pick in picks],
        ">MACs": [scaled(cost.macs) for cost in costs],
        ">Parameters": [scaled(cost.parameters) for cost in costs],
        ">Memory": [size_in_bytes(cost.planned_memory_bytes) for cost in costs],
        ">Capacity": [percent(pick.capacity_share) for pick in picks],
    }
    ranks = {"": [*(str(index + 1) for index in range(len(first))), *(["next"] if found.step else [])]}
    return runs_report(printable(title), names, figures, ranks, section=len(first) if found.step else None)


def _reasons(found: RecommendationRecord, budget: str) -> Report:
    """Why the first pick is the best, whether its latency is certain, and what the next step costs."""
    first, step = found.picks[0], found.step
    are = "is" if found.within == 1 else "are"
    within = f"{count(found.within)} of {counted(found.measured, 'measured run')} {are} within {budget}"
    lines = [f"{within}; the first has the most capacity: {capacity_words(first.cost.capacity)}."]
    if not first.within_surely:
        why = "Its 95 % interval reaches beyond the limit" if first.latency_s.ci95 else "It has no 95 % interval"
        lines.append(f"{why}: measure it for longer before you rely on it.")
    lines.append(_step_up(first, step) if step else "No measured run has more capacity, at any cost.")
    return [note(line) for line in lines]


def _step_up(first: PickRecord, step: PickRecord) -> str:
    """The latency and the capacity of the next step, relative to the first pick."""
    more = step.latency_s.median - first.latency_s.median
    share = step.latency_s.median / first.latency_s.median - 1
    cost = f"{seconds(abs(more))} {'more' if more >= 0 else 'less'} ({percent(share, '+.0f')})"
    capacity = f"has {percent(step.capacity_share)} of the capacity instead of {percent(first.capacity_share)}"
    return f"The next step up takes {cost} and {capacity}: {capacity_words(step.cost.capacity)}."


def capacity_words(capacity: CapacityRecord) -> str:
    """The capacity of a network in words: levels, their channels, cells of the finest, channels of the backbone."""
    levels = "1 map" if capacity.levels == 1 else f"{capacity.levels} levels"
    return (
        f"{levels} of {counted(capacity.channels, 'channel')}, the finest of {counted(capacity.cells, 'cell')}, "
        f"on {counted(capacity.backbone_channels, 'channel')} of the backbone"
    )

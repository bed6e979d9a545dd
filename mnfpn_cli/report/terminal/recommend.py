"""`mnfpn recommend` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.points import KEPT, name_of, words_of
from mnfpn_cli.report.terminal.bench import half_width
from mnfpn_cli.report.terminal.runs import Differing, columns_of, runs_report
from mnfpn_cli.report.terminal.tables import Report, command, note, warning
from mnfpn_cli.report.units import count, counted, scaled, seconds, size_in_bytes
from mnfpn_cli.space.planned import Capacity, kept
from mnfpn_cli.text import percent, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.sweep.recommend import Commands, Pick, Recommendation

SHOWN = 3

OBJECTIVE = f"What is best here is what keeps the most. {KEPT} Train the first few, and compare."
"""What a recommendation goes by."""


def recommend_report(
    found: Sequence[Recommendation], budget: str, warnings: Sequence[str], commands: Commands
) -> Report:
    """For each machine the best runs, why, what more would cost, and what to do next."""
    report: Report = []
    for one in found:
        bench = one.bench
        where = f"{bench.device} ({bench.machine}), batch {bench.batch}{', training steps' * bench.train}"
        if not one.picks:
            run = one.fastest.run
            name = f"{name_of(words_of([run])[0])}, {run.size}, {run.execution.runtime}"
            fastest = f"{seconds(one.fastest.latency.median)}: {name}"
            report.append(
                note(f"{where}: none of {counted(one.measured, 'measured run')} is within {budget}; fastest {fastest}.")
            )
            continue
        report += [*_table(one, f"Within {budget} on {where}"), *_reasons(one, budget)]
        report += [command(f"{what:8} {line}", "bold") for what, line in commands(one.picks[0].run.planned.run)]
    return [*report, *(warning(line) for line in warnings), note(OBJECTIVE, "dim")]


def _table(one: Recommendation, title: str) -> Report:
    picks = [*one.picks[:SHOWN], *([one.step] if one.step else [])]
    figures = [pick.run.figures for pick in picks]
    differing = Differing(
        columns_of(words_of([pick.run for pick in picks])),
        {
            ">Size": [str(pick.run.size) for pick in picks],
            "Runtime": [pick.run.execution.runtime for pick in picks],
        },
    )
    numbers = {
        ">Median": [seconds(pick.latency.median) for pick in picks],
        ">±95 %": [half_width(pick.latency) for pick in picks],
        ">MACs": [scaled(each.macs) for each in figures],
        ">Parameters": [scaled(each.parameters) for each in figures],
        ">Memory": [size_in_bytes(each.memory_bytes) for each in figures],
        ">Kept": [_kept(one, pick) for pick in picks],
    }
    places = {"": ["next" if pick is one.step else f"{index + 1}" for index, pick in enumerate(picks)]}
    return runs_report(
        printable(title), differing, numbers, places, section=picks.index(one.step) if one.step else None
    )


def _kept(one: Recommendation, pick: Pick) -> str:
    return percent(kept(pick.run.figures.capacity, one.most))


def _reasons(one: Recommendation, budget: str) -> Report:
    first = one.picks[0]
    are = "is" if one.within == 1 else "are"
    within = f"{count(one.within)} of {counted(one.measured, 'measured run')} {are} within {budget}"
    lines = [f"{within}; the first keeps the most: {capacity_words(first.run.figures.capacity)}."]
    if not first.sure:
        why = "Its 95 % interval reaches beyond the limit" if first.latency.interval else "It has no 95 % interval"
        lines.append(f"{why}: measure it for longer before you rely on it.")
    if one.step:
        more, share = one.step.latency.median - first.latency.median, one.step.latency.median / first.latency.median - 1
        kept_then = f"keeps {_kept(one, one.step)} instead of {_kept(one, first)}"
        cost = f"{seconds(abs(more))} {'more' if more >= 0 else 'less'} ({percent(share, '+.0f')})"
        lines.append(f"The next step up takes {cost} and {kept_then}: {capacity_words(one.step.run.figures.capacity)}.")
    else:
        lines.append("No measured run keeps more, at any cost.")
    return [note(line) for line in lines]


def capacity_words(capacity: Capacity) -> str:
    """What a network keeps, in words: levels, their channels, cells of the finest, channels of the backbone."""
    levels = "1 map" if capacity.levels == 1 else f"{capacity.levels} levels"
    return (
        f"{levels} of {counted(capacity.channels, 'channel')}, the finest of {counted(capacity.cells, 'cell')}, "
        f"on {counted(capacity.backbone_channels, 'channel')} of the backbone"
    )

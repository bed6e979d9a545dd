"""`mnfpn report` in the terminal: the measured frontier as tables, with a plot, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.percent import percent
from mnfpn_cli.report.bench_document import latency_document
from mnfpn_cli.report.cell_tables import Differing, cells_report, columns_of, numbers_of
from mnfpn_cli.report.document import network_document
from mnfpn_cli.report.points import KEPT, Point, Points
from mnfpn_cli.report.runs import half_width
from mnfpn_cli.report.sweep import planned_document
from mnfpn_cli.report.swept import moved_lines
from mnfpn_cli.report.tables import Report, note, printable, warning
from mnfpn_cli.report.terminal_plot import TerminalPlot
from mnfpn_cli.report.units import count, counted, scaled, seconds, size_in_bytes
from mnfpn_cli.space.frontier import Bench, bench_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def frontier_report(points: Points) -> Report:
    """A table for each bench, a plot of it below, and what stands in the tables."""
    report: Report = []
    for bench, some in points.frontier.items():
        everything = [one for one in points.all if one.latency and bench_of(one.stored) == bench]
        report += [*_table(bench, some, len(everything)), TerminalPlot(everything)]
    if points.frontier:
        report.append(note(KEPT, "dim"))
    return [*report, *_counts(points), *_moved(points)]


def bench_name(bench: Bench, among: Mapping[Bench, object]) -> str:
    """A bench as titles call it: its machine, and the batch where there are several."""
    batches = {one.batch for one in among} | {1}
    return f"{bench.device} of {bench.machine}" + (f", batch {bench.batch}" if len(batches) > 1 else "")


def _table(bench: Bench, frontier: Sequence[Point], cells: int) -> Report:
    """The cells of a frontier; sizes and runtimes stand beside the networks where there is room."""
    title = f"Frontier on {bench_name(bench, {bench: None})}: {count(len(frontier))} of {counted(cells, 'cell')}"
    differing = Differing(
        columns_of([one.words for one in frontier]),
        {
            ">Size": [str(one.stored.cell.size) for one in frontier],
            "Runtime": [one.stored.cell.execution.runtime for one in frontier],
        },
    )
    latencies = [one.latency for one in frontier if one.latency]  # all of them: a frontier is of what was measured
    figures = [one.stored.figures for one in frontier]
    numbers = {
        ">Median": [seconds(one.median) for one in latencies],
        ">±95 %": [half_width(one) for one in latencies],
        ">MACs": [scaled(one.macs) for one in figures],
        ">Parameters": [scaled(one.parameters) for one in figures],
        ">Memory": [size_in_bytes(one.memory_bytes) for one in figures],
        ">Kept": [percent(one.kept) for one in frontier],
    }
    return cells_report(printable(title), differing, numbers, numbers_of(frontier))


def _counts(points: Points) -> Report:
    if not points.all:
        return [note("The store has no cells yet: mnfpn sweep --store STORE puts some in, and measures them.")]
    parts = {status: points.count(status) for status in ("done", "failed", "pending")}
    text = ", ".join(f"{count(number)} {status}" for status, number in parts.items() if number)
    cells = f"{counted(len(points.all), 'cell')}: {text}."
    return [note(cells if parts["done"] else f"{cells} There is no frontier before a cell is measured.")]


def _moved(points: Points) -> Report:
    return [warning(line) for line in moved_lines(points.moved)]


def report_document(points: Points) -> dict[str, Any]:
    """The same under the keys that scripts rely on: seconds, bytes, MACs, parameters, shares."""
    return {
        **network_document("report", None, None, {}),
        "counts": {status: points.count(status) for status in ("done", "failed", "pending")},
        "frontier": [
            {**bench._asdict(), "cells": [_row(one) for one in some]} for bench, some in points.frontier.items()
        ],
        "reference_moved": [{"node": one.node, "finished": one.finished, "pace": one.pace} for one in points.moved],
    }


def _row(point: Point) -> dict[str, Any]:
    stored, latency = point.stored, point.latency
    assert latency
    return {
        "key": stored.key,
        "name": point.name,
        **planned_document(stored.planned),
        "device": stored.device,
        "node": point.node,
        "latency_s": latency_document(latency),
        "corrected_s": point.corrected_s,
        "kept": point.kept,
    }

"""Plot latency by size and batch: each run with its interval, and a line through the runs of a network."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mnfpn_cli.report.figures.style import (
    axis,
    colours,
    figure,
    graph_objects,
    key,
    logarithmic,
    plot_text,
    plotted_runs,
    points,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plotly.graph_objects import Figure, Scatter

    from mnfpn_cli.documents.report import ReportDocument
    from mnfpn_cli.report.figures.style import PlottedRun

WIDTH = 0.8
"""The width of the points of one size, where the distance to the next size is 1."""

MOST_JOINED = 300
"""Runs up to which lines are drawn: more lines would hide the points."""


def sizes_figure(report: ReportDocument) -> Figure:
    """Plot latency by size and batch; within one, by runtime, then by MACs.

    ``customdata`` are positions in `ReportDocument.runs`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    plotted = plotted_runs(report)
    steps = sorted({_step(one) for one in plotted})
    several_batches = len({batch for batch, *_ in steps}) > 1
    offsets = _offsets(plotted)
    xs = {one.index: steps.index(_step(one)) + offsets[_series(one)] for one in plotted}
    traces = list["Scatter"]()
    for runtime, colour in colours(plotted).items():
        runs = [one for one in plotted if one.run.runtime == runtime]
        traces += [_lines(runs, xs, runtime, colour)] * (len(plotted) <= MOST_JOINED)
        traces += points(runs, [xs[one.index] for one in runs], colour, runtime)
        traces += [key(plot_text(runtime), runtime, color=colour)]
    along = axis(
        "Size of the image",
        tickvals=list(range(len(steps))),
        ticktext=[_tick(step, several_batches) for step in steps],
        range=[-0.5, max(1, len(steps)) - 0.5],
        showgrid=False,
    )
    return figure(
        traces, xaxis=along, yaxis=logarithmic("Latency of a pass (ms)", [one.milliseconds for one in plotted])
    )


SizeStep = tuple[int, int, int, int]


def _step(one: PlottedRun) -> SizeStep:
    """Return the batch, area, height and width of a run: the order along the axis."""
    size = one.run.input
    return size.batch, size.height * size.width, size.height, size.width


def _tick(step: SizeStep, several_batches: bool) -> str:
    batch, _, height, width = step
    return f"{height}×{width}" + (f"<br>batch {batch}" if several_batches else "")


Series = tuple[str, str, str, bool]


def _series(one: PlottedRun) -> Series:
    """Return the runtime, machine, network and training of a run: the same at each size."""
    return one.run.runtime, one.machine, one.run.name, one.run.train


def _offsets(plotted: Sequence[PlottedRun]) -> dict[Series, float]:
    """Return how far from the middle of a size each series is drawn: in the order of runtime, then MACs."""
    macs = defaultdict[Series, int](int)
    for one in plotted:
        macs[_series(one)] = max(macs[_series(one)], one.run.cost.macs)
    order = sorted(macs, key=lambda series: (series[0], macs[series], series))
    return {series: WIDTH * ((index + 0.5) / len(order) - 0.5) for index, series in enumerate(order)}


def _lines(runs: Sequence[PlottedRun], xs: Mapping[int, float], runtime: str, colour: str) -> Scatter:
    """Return thin lines, each through one series at one batch; None ends a line."""
    line_xs, line_ys = list[float | None](), list[float | None]()
    groups = defaultdict[object, list["PlottedRun"]](list)
    for one in runs:
        groups[_series(one), one.run.batch].append(one)
    for group in groups.values():
        group.sort(key=_step)
        line_xs += [*(xs[one.index] for one in group), None]
        line_ys += [*(one.milliseconds for one in group), None]
    return graph_objects().Scatter(
        x=line_xs,
        y=line_ys,
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.3,
        hoverinfo="skip",
        legendgroup=plot_text(runtime),
        showlegend=False,
        meta={"kind": "lines"},
    )

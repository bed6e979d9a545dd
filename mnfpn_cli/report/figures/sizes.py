"""Plot latency by size and batch: each measured run with its interval, and a line through the runs of a network."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.figures.style import (
    axis,
    colours,
    error_bars,
    figure,
    graph_objects,
    key,
    logarithmic,
    machine,
    milliseconds,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.report.points import Point, Points

WIDTH = 0.8
"""The width of the points of one size, where the distance to the next size is 1."""

MOST_JOINED = 300
"""Runs up to which lines are drawn: more lines would hide the points."""


def sizes_figure(points: Points) -> Any:
    """Plot latency by size and batch; within one, by runtime, then by MACs. ``customdata`` are indices of `Points.all`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    measured = [one for one in points.all if one.latency]
    steps = sorted({_step(one) for one in measured})
    several_batches = len({batch for batch, *_ in steps}) > 1
    numbers = {one.stored.key: index for index, one in enumerate(points.all)}
    offsets = _offsets(measured)
    traces = []
    for runtime, colour in colours(measured).items():
        of_runtime = [one for one in measured if one.stored.execution.runtime == runtime]
        xs = {one.stored.key: steps.index(_step(one)) + offsets[_series(one)] for one in of_runtime}
        traces += [_lines(of_runtime, xs, runtime, colour)] * (len(measured) <= MOST_JOINED)
        traces += [_cloud(of_runtime, xs, numbers, runtime, colour), key(text(runtime), runtime, color=colour)]
    ticks = {"tickvals": list(range(len(steps))), "ticktext": [_tick(step, several_batches) for step in steps]}
    return figure(
        traces,
        xaxis={**axis("Size of the image"), **ticks, "range": [-0.5, max(1, len(steps)) - 0.5], "showgrid": False},
        yaxis=logarithmic("Latency of a pass (ms)", map(milliseconds, measured)),
    )


Step = tuple[int, int, int, int]


def _step(point: Point) -> Step:
    """Return the batch, area, height and width of a run: the order along the axis."""
    run = point.stored.planned.run
    height, width = run.size
    return run.execution.batch, height * width, height, width


def _tick(step: Step, several_batches: bool) -> str:
    batch, _, height, width = step
    return f"{height}×{width}" + (f"<br>batch {batch}" if several_batches else "")


Series = tuple[str, str, str, bool]


def _series(point: Point) -> Series:
    """Return the runtime, machine, network and training of a run: the same at each size."""
    execution = point.stored.execution
    return execution.runtime, machine(point), point.name, execution.train


def _offsets(measured: Sequence[Point]) -> dict[Series, float]:
    """Return how far from the middle of a size each series is drawn: in the order of runtime, then MACs."""
    macs = defaultdict[Series, int](int)
    for one in measured:
        macs[_series(one)] = max(macs[_series(one)], one.stored.figures.macs)
    order = sorted(macs, key=lambda series: (series[0], macs[series], series))
    return {series: WIDTH * ((index + 0.5) / len(order) - 0.5) for index, series in enumerate(order)}


def _cloud(points: Sequence[Point], xs: dict[str, float], numbers: dict[str, int], runtime: str, colour: str) -> Any:
    return graph_objects().Scatter(
        x=[xs[one.stored.key] for one in points],
        y=[milliseconds(one) for one in points],
        customdata=[numbers[one.stored.key] for one in points],
        error_y={**error_bars(points), "color": colour},
        mode="markers",
        name=text(runtime),
        legendgroup=text(runtime),
        showlegend=False,
        marker={"color": colour, "size": 7},
        hoverinfo="text",
        meta={"kind": "runs"},
    )


def _lines(points: Sequence[Point], xs: dict[str, float], runtime: str, colour: str) -> Any:
    """Return thin lines, each through one series at one batch; None ends a line."""
    line_xs, line_ys = list[float | None](), list[float | None]()
    groups = defaultdict[object, list["Point"]](list)
    for one in points:
        groups[_series(one), one.stored.execution.batch].append(one)
    for group in groups.values():
        group.sort(key=_step)
        line_xs += [*(xs[one.stored.key] for one in group), None]
        line_ys += [*(milliseconds(one) for one in group), None]
    return graph_objects().Scatter(
        x=line_xs,
        y=line_ys,
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.3,
        hoverinfo="skip",
        legendgroup=text(runtime),
        showlegend=False,
        meta={"kind": "lines"},
    )

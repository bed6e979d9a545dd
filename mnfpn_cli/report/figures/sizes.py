"""Latency by size and batch: every measured run with its interval, a network's runs joined from size to size."""

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
"""Of what stands above one size, where the next is 1 away."""

MOST_JOINED = 300
"""Runs: with more of them, lines would hide them."""


def sizes_figure(points: Points) -> Any:
    """Latency over sizes and batches. Within one, runtimes stand side by side, the cheapest network first.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    measured = [one for one in points.all if one.latency]
    steps = sorted({_step(one) for one in measured})
    words = {step: _words(step, several=len({one[0] for one in steps}) > 1) for step in steps}
    places = {step: index for index, step in enumerate(steps)}
    numbers = {one.stored.key: index for index, one in enumerate(points.all)}
    lanes = _lanes(measured)
    traces = []
    for runtime, colour in colours(measured).items():
        some = [one for one in measured if one.stored.execution.runtime == runtime]
        at = {one.stored.key: places[_step(one)] + lanes[_who(one)] for one in some}
        traces += [_joined(some, at, runtime, colour)] * (len(measured) <= MOST_JOINED)
        traces += [_cloud(some, at, numbers, runtime, colour), key(text(runtime), runtime, color=colour)]
    ticks = {"tickvals": list(places.values()), "ticktext": [words[step] for step in steps]}
    return figure(
        traces,
        xaxis={**axis("Size of the image"), **ticks, "range": [-0.5, max(1, len(steps)) - 0.5], "showgrid": False},
        yaxis=logarithmic("Latency of a pass (ms)", map(milliseconds, measured)),
    )


Step = tuple[int, int, int, int]


def _step(point: Point) -> Step:
    """A batch and a size, in the order in which they stand."""
    run = point.stored.planned.run
    height, width = run.size
    return run.execution.batch, height * width, height, width


def _words(step: Step, several: bool) -> str:
    batch, _, height, width = step
    return f"{height}×{width}" + (f"<br>batch {batch}" if several else "")


Who = tuple[str, str, str, bool]


def _who(point: Point) -> Who:
    """What is the same from size to size: the runtime, the machine, the network, whether it trains."""
    execution = point.stored.execution
    return execution.runtime, machine(point), point.name, execution.train


def _lanes(measured: Sequence[Point]) -> dict[Who, float]:
    """How far from the middle of a size each of them stands: by runtime, then by cost."""
    cost = defaultdict[Who, int](int)
    for one in measured:
        cost[_who(one)] = max(cost[_who(one)], one.stored.figures.macs)
    order = sorted(cost, key=lambda who: (who[0], cost[who], who))
    return {who: WIDTH * ((index + 0.5) / len(order) - 0.5) for index, who in enumerate(order)}


def _cloud(some: Sequence[Point], at: dict[str, float], numbers: dict[str, int], runtime: str, colour: str) -> Any:
    return graph_objects().Scatter(
        x=[at[one.stored.key] for one in some],
        y=[milliseconds(one) for one in some],
        customdata=[numbers[one.stored.key] for one in some],
        error_y={**error_bars(some), "color": colour},
        mode="markers",
        name=text(runtime),
        legendgroup=text(runtime),
        showlegend=False,
        marker={"color": colour, "size": 7},
        hoverinfo="text",
        meta={"kind": "runs"},
    )


def _joined(some: Sequence[Point], at: dict[str, float], runtime: str, colour: str) -> Any:
    """Thin lines from size to size, of one batch."""
    xs, ys = list[float | None](), list[float | None]()
    groups = defaultdict[object, list["Point"]](list)
    for one in some:
        groups[_who(one), one.stored.execution.batch].append(one)
    for group in groups.values():
        group.sort(key=_step)
        xs += [*(at[one.stored.key] for one in group), None]
        ys += [*(milliseconds(one) for one in group), None]
    return graph_objects().Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.3,
        hoverinfo="skip",
        legendgroup=text(runtime),
        showlegend=False,
        meta={"kind": "joins"},
    )

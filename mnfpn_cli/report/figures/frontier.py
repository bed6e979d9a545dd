"""Plot latency against cost: each measured run with its interval, and the frontier; for the page, or as a file."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.figures.style import (
    INK,
    colours,
    error_bars,
    figure,
    graph_objects,
    key,
    logarithmic,
    machine,
    milliseconds,
    symbols,
    text,
)
from mnfpn_cli.space.runs import PASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnfpn_cli.report.points import Point, Points
    from mnfpn_cli.space.frontier import TimingGroup
    from mnfpn_cli.space.planned import Figures

COSTS: dict[str, tuple[str, Callable[[Figures], float]]] = {
    "macs": ("MACs of one image", lambda figures: figures.macs),
    "parameters": ("Parameters", lambda figures: figures.parameters),
    "memory_bytes": ("Weights and activations (MiB)", lambda figures: figures.memory_bytes / 2**20),
}
"""The costs that latency is plotted against: the title of the axis, and the cost of a run."""

RING = 15
"""The diameter of the ring around a run of the frontier, in pixels."""

MANY = 500
"""Runs from which on points are drawn smaller."""

WIDTH, HEIGHT, SCALE = 1000, 620, 2
"""The size of a picture in pixels, and the pixels of a PNG for each of these."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
INSTALL = "install Chromium or Chrome (Debian: apt-get install chromium), or name one in BROWSER_PATH"


def frontier_picture(points: Points, format_: str) -> bytes:
    """Return the plot against MACs, on white, as ``png`` or ``svg``.

    Raises:
        MnfpnError: where no run is measured; plotly, kaleido or a browser is missing; or the browser fails.
    """
    if not points.frontier:
        raise MnfpnError(Problem("`format`", "there is nothing to plot: no run of the store is measured"))
    plot = frontier_figure(points)
    plot.update_layout(paper_bgcolor="white", plot_bgcolor="white", title={"text": "Latency against MACs", "x": 0.02})
    plot.update_layout(margin={"l": 72, "r": 24, "t": 88, "b": 64})
    try:
        import kaleido
    except ImportError:
        raise MnfpnError(Problem("`format`", "a picture needs kaleido: pip install 'mnfpn[report]'")) from None
    size = {"format": format_, "width": WIDTH, "height": HEIGHT, "scale": SCALE if format_ == "png" else 1}
    options = {"mathjax": False, "path": _browser()}  # kaleido would download MathJax
    try:
        picture = kaleido.calc_fig_sync(plot.to_dict(), opts=size, kopts=options)
    except Exception as error:  # whatever the browser does: kaleido has no class for it
        rule = f"the browser could not draw the picture: {str(error) or repr(error)}"
        raise MnfpnError(Problem("`format`", rule)) from error
    return bytes(picture)


def _browser() -> str:
    """Return the path of a browser: the one in ``BROWSER_PATH``, else the first of `BROWSERS` that is installed.

    Raises:
        MnfpnError: where there is none.
    """
    if named := os.environ.get("BROWSER_PATH"):
        path = shutil.which(named)
        if not path:
            raise MnfpnError(Problem("`format`", "BROWSER_PATH must name a browser", f"'{named}'"))
        return path
    installed = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not installed:
        raise MnfpnError(Problem("`format`", f"a picture is drawn by a browser, and none was found: {INSTALL}"))
    return installed


def frontier_figure(points: Points, cost: str = "macs") -> Any:
    """Plot latency against a cost of `COSTS`, both logarithmic. ``customdata`` are indices of `Points.all`.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    title, cost_of = COSTS[cost]
    measured = [one for one in points.all if one.latency]
    numbers = {one.stored.key: index for index, one in enumerate(points.all)}
    plot = figure(
        [*_clouds(measured, numbers, cost_of), *_frontier_lines(points, numbers, cost_of), *_keys(measured)],
        xaxis=logarithmic(title, [cost_of(one.stored.figures) for one in measured]),
        yaxis=logarithmic("Latency of a pass (ms)", map(milliseconds, measured)),
    )
    # Where latency grows with cost, the bottom right corner is empty.
    corner = {"x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom"}
    return plot.update_layout(legend2={**corner, "itemclick": False, "itemdoubleclick": False})


def _clouds(measured: Sequence[Point], numbers: dict[str, int], cost_of: Callable[[Figures], float]) -> list[Any]:
    """Return the points with error bars: a trace for each runtime on each machine."""
    traces, size = list[Any](), 9 if len(measured) <= MANY else 6
    for runtime, colour in colours(measured).items():
        for machine_, symbol in symbols(measured).items():
            cloud = [one for one in measured if (one.stored.execution.runtime, machine(one)) == (runtime, machine_)]
            trace = graph_objects().Scatter(
                **_coordinates(cloud, numbers, cost_of),
                error_y={**error_bars(cloud), "color": colour},
                mode="markers",
                name=text(runtime),
                legendgroup=text(runtime),
                showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.85},
                hoverinfo="text",
                meta={"kind": "runs"},
            )
            traces += [trace] if cloud else []
    return traces


def _frontier_lines(points: Points, numbers: dict[str, int], cost_of: Callable[[Figures], float]) -> list[Any]:
    """Return a line through each frontier, with a ring around each of its runs."""
    return [
        graph_objects().Scatter(
            **_coordinates(frontier, numbers, cost_of),
            mode="lines+markers",
            name=text(", ".join(("frontier", *_differences(group, points.frontier)))),
            line={"color": INK, "width": 1.5, "dash": ("solid", "dash", "dot", "dashdot")[index % 4]},
            marker={"symbol": "circle-open", "size": RING, "color": INK, "line": {"width": 1.5}},
            hoverinfo="skip",
            legendrank=1,
            meta={"kind": "frontier"},
        )
        for index, (group, frontier) in enumerate(points.frontier.items())
    ]


def _differences(group: TimingGroup, groups: Iterable[TimingGroup]) -> list[str]:
    """Return the words for the fields in which the groups differ."""
    everyone = list(groups)
    words = [(group.device, 1), (group.machine, 0), (f"batch {group.batch}", 2), (PASSES[group.train], 3)]
    return [word for word, index in words if len({one[index] for one in everyone}) > 1]


def _keys(measured: Sequence[Point]) -> list[Any]:
    """Return the entries of the legends: the colours of runtimes, and the symbols of machines where there are several.

    They stay when a filter removes points.
    """
    keys = [key(text(name), name, color=colour) for name, colour in colours(measured).items()]
    machines = symbols(measured)
    if len(machines) > 1:
        keys += [key(text(name), "", color=INK, symbol=symbol, legend="legend2") for name, symbol in machines.items()]
    return keys


def _coordinates(
    points: Sequence[Point], numbers: dict[str, int], cost_of: Callable[[Figures], float]
) -> dict[str, list[Any]]:
    return {
        "x": [cost_of(one.stored.figures) for one in points],
        "y": [milliseconds(one) for one in points],
        "customdata": [numbers[one.stored.key] for one in points],
    }

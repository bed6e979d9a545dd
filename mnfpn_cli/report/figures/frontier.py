"""Latency against cost: every measured run with its interval, and the frontier; as a figure, or as a picture file."""

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
"""What latency can be plotted against: the axis' title, and how a run's plan says it."""

RING = 15
"""The size of what goes around a run on the frontier, in pixels."""

MANY = 500
"""Runs: more of them are drawn smaller."""


def frontier_figure(points: Points, cost: str = "macs") -> Any:
    """Latency against a cost, both logarithmic. A point's ``customdata`` is its place among all runs.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    title, of = COSTS[cost]
    measured = [one for one in points.all if one.latency]
    places = {one.stored.key: index for index, one in enumerate(points.all)}
    made = figure(
        [*_clouds(measured, places, of), *_lines(points, places, of), *_keys(measured)],
        xaxis=logarithmic(title, [of(one.stored.figures) for one in measured]),
        yaxis=logarithmic("Latency of a pass (ms)", map(milliseconds, measured)),
    )
    # Where latency grows with cost, this corner is empty.
    corner = {"x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom"}
    return made.update_layout(legend2={**corner, "itemclick": False, "itemdoubleclick": False})


def _lines(points: Points, places: dict[str, int], of: Callable[[Figures], float]) -> list[Any]:
    """Through the frontier of each bench, with a ring around each of its runs."""
    return [
        graph_objects().Scatter(
            **_at(some, places, of),
            mode="lines+markers",
            name=text(", ".join(("frontier", *_apart(bench, points.frontier)))),
            line={"color": INK, "width": 1.5, "dash": ("solid", "dash", "dot", "dashdot")[index % 4]},
            marker={"symbol": "circle-open", "size": RING, "color": INK, "line": {"width": 1.5}},
            hoverinfo="skip",
            legendrank=1,
            meta={"kind": "frontier"},
        )
        for index, (bench, some) in enumerate(points.frontier.items())
    ]


def _clouds(measured: Sequence[Point], places: dict[str, int], of: Callable[[Figures], float]) -> list[Any]:
    """A trace for each runtime on each machine."""
    found, size = list[Any](), 9 if len(measured) <= MANY else 6
    for runtime, colour in colours(measured).items():
        for where, symbol in symbols(measured).items():
            some = [one for one in measured if (one.stored.execution.runtime, machine(one)) == (runtime, where)]
            cloud = graph_objects().Scatter(
                **_at(some, places, of),
                error_y={**error_bars(some), "color": colour},
                mode="markers",
                name=text(runtime),
                legendgroup=text(runtime),
                showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.85},
                hoverinfo="text",
                meta={"kind": "runs"},
            )
            found += [cloud] if some else []
    return found


def _keys(measured: Sequence[Point]) -> list[Any]:
    """What colours mean, and symbols where there are several: in the legend whatever is in sight."""
    made = [key(text(name), name, color=colour) for name, colour in colours(measured).items()]
    machines = symbols(measured)
    if len(machines) > 1:
        made += [key(text(name), "", color=INK, symbol=symbol, legend="legend2") for name, symbol in machines.items()]
    return made


def _apart(bench: TimingGroup, among: Iterable[TimingGroup]) -> list[str]:
    """What tells a bench from the others."""
    everyone = list(among)
    words = [(bench.device, 1), (bench.machine, 0), (f"batch {bench.batch}", 2), (PASSES[bench.train], 3)]
    return [word for word, index in words if len({one[index] for one in everyone}) > 1]


def _at(some: Sequence[Point], places: dict[str, int], of: Callable[[Figures], float]) -> dict[str, list[Any]]:
    return {
        "x": [of(one.stored.figures) for one in some],
        "y": [milliseconds(one) for one in some],
        "customdata": [places[one.stored.key] for one in some],
    }


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
INSTALL = "install Chromium or Chrome (Debian: apt-get install chromium), or name one in BROWSER_PATH"
WIDTH, HEIGHT, SCALE = 1000, 620, 2


def frontier_picture(points: Points, form: str) -> bytes:
    """The plot on white as ``png`` or ``svg``.

    Raises:
        MnfpnError: where nothing is measured; plotly, kaleido or a browser is missing; the browser cannot draw.
    """
    if not points.frontier:
        raise MnfpnError(Problem("`format`", "there is nothing to plot: no run of the store is measured"))
    made = frontier_figure(points)
    made.update_layout(paper_bgcolor="white", plot_bgcolor="white", title={"text": "Latency against MACs", "x": 0.02})
    made.update_layout(margin={"l": 72, "r": 24, "t": 88, "b": 64})
    try:
        import kaleido
    except ImportError:
        raise MnfpnError(Problem("`format`", "a picture needs kaleido: pip install 'mnfpn[report]'")) from None
    size = {"format": form, "width": WIDTH, "height": HEIGHT, "scale": SCALE if form == "png" else 1}
    # Without MathJax, which kaleido would fetch.
    how = {"mathjax": False, "path": _browser()}
    try:
        drawn = kaleido.calc_fig_sync(made.to_dict(), opts=size, kopts=how)
    except Exception as error:  # whatever the browser does: kaleido has no class for it
        rule = f"the browser could not draw the picture: {str(error) or repr(error)}"
        raise MnfpnError(Problem("`format`", rule)) from error
    return bytes(drawn)


def _browser() -> str:
    """The browser that is to draw.

    Raises:
        MnfpnError: where there is none.
    """
    named = os.environ.get("BROWSER_PATH")
    if named:
        found = shutil.which(named)
        if not found:
            raise MnfpnError(Problem("`format`", "BROWSER_PATH must name a browser", f"'{named}'"))
        return found
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found:
        raise MnfpnError(Problem("`format`", f"a picture is drawn by a browser, and none was found: {INSTALL}"))
    return found

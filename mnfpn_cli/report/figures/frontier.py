"""Plot latency against a metric: each run with its intervals, and the frontier; for the page, or as a file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.figures.style import (
    GREY,
    INK,
    SYMBOLS,
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
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plotly.graph_objects import Figure, Scatter

    from mnfpn_cli.documents.records import ComparableRecord
    from mnfpn_cli.documents.report import ReportDocument, ReportedRun
    from mnfpn_cli.report.figures.style import PlottedRun


@dataclass(frozen=True, slots=True)
class PlotAxis:
    """A quantity that latency is plotted against.

    Attributes:
        key: its name in the data of the page.
        word: its name in a word.
        title: the title of the axis, with the unit.
        value: its value for a run; None where the run has none.
        is_logarithmic: whether equal ratios are equal distances.
        error: the standard error of the value of a run; 0 where it has none.
    """

    key: str
    word: str
    title: str
    value: Callable[[ReportedRun], float | None]
    is_logarithmic: bool = True
    error: Callable[[ReportedRun], float] = lambda _run: 0.0


MACS = PlotAxis("macs", "MACs", "MACs of one image", lambda run: run.cost.macs)
COSTS = (
    MACS,
    PlotAxis("parameters", "Parameters", "Parameters", lambda run: run.cost.parameters),
    PlotAxis(
        "memory_bytes",
        "Memory",
        "Weights and activations (MiB)",
        lambda run: run.cost.planned_memory_bytes / 2**20,
    ),
)


def plot_axes(report: ReportDocument) -> tuple[PlotAxis, ...]:
    """Return what latency can be plotted against: first the metric of the frontier, then the costs."""
    if report.metric == "macs":
        return COSTS
    name = printable(report.metric)
    return PlotAxis("score", name, name, _score, False, _score_error), *COSTS


def _score(run: ReportedRun) -> float | None:
    return run.score.value if run.score else None


def _score_error(run: ReportedRun) -> float:
    return (run.score.error if run.score else None) or 0.0


RING = 15
"""The diameter of the ring around a run of the frontier, in pixels."""

POINT, SMALL_POINT, MANY = 9, 6, 500
"""The diameter of a point in pixels, and that of runs not on the frontier, where there are many."""

WIDTH, HEIGHT, SCALE = 1000, 620, 2
"""The size of a picture in pixels, and the pixels of a PNG for each of these."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
INSTALL = "install Chromium or Chrome (Debian: apt-get install chromium), or name one in BROWSER_PATH"


def frontier_picture(report: ReportDocument, format_: str) -> bytes:
    """Return the plot against the metric, on white, as ``png`` or ``svg``.

    Raises:
        MnfpnError: where no run is measured; plotly, kaleido or a browser is missing; or the browser fails.
    """
    if not report.frontier:
        raise MnfpnError(Problem("`output`", "there is nothing to plot: no run of the store is measured"))
    plot = frontier_figure(report)
    title = f"Latency against {plot_text(plot_axes(report)[0].title)}"
    plot.update_layout(
        paper_bgcolor="white", plot_bgcolor="white", title={"text": title, "x": 0.02, "y": 0.98, "yanchor": "top"}
    )
    plot.update_layout(margin={"l": 72, "r": 24, "t": 92, "b": 64})
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


def frontier_figure(report: ReportDocument) -> Figure:
    """Plot latency against the metric. ``customdata`` are positions in `ReportDocument.runs`.

    Runs of the frontier have the colour of their runtime, all others are grey; each runtime has a symbol, which is
    hollow where the time is predicted.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    along, *_ = plot_axes(report)
    runs = [one for one in plotted_runs(report) if along.value(one.run) is not None]
    values = _along(along, runs)
    title = plot_text(along.title)
    plot = figure(
        [
            *_clouds(runs, along, on_frontier=False),
            *_frontier_lines(report, runs, along),
            *_clouds(runs, along, on_frontier=True),
            *_keys(runs),
        ],
        xaxis=logarithmic(title, values) if along.is_logarithmic else axis(title),
        yaxis=logarithmic("Latency of a pass (ms)", [one.milliseconds for one in runs]),
    )
    # Where latency grows with cost, the bottom right corner is empty.
    corner = {"x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom"}
    return plot.update_layout(legend2={**corner, "itemclick": False, "itemdoubleclick": False})


def _along(along: PlotAxis, runs: Sequence[PlottedRun]) -> list[float]:
    return [along.value(one.run) or 0.0 for one in runs]


@dataclass(frozen=True, slots=True)
class SeriesLook:
    """Runs of a runtime on a machine: the name in the legend, and the colour and the symbol of their points."""

    name: str
    colour: str
    symbol: str


def _series(runs: Sequence[PlottedRun]) -> dict[tuple[str, str], SeriesLook]:
    """Return each series by runtime and machine; machines are named where there are several."""
    of_runtimes, several = colours(runs), len({one.machine for one in runs}) > 1
    pairs = sorted({(one.run.runtime, one.machine) for one in runs})
    return {
        (runtime, machine): SeriesLook(
            f"{runtime}, {machine}" if several else runtime, of_runtimes[runtime], SYMBOLS[index % len(SYMBOLS)]
        )
        for index, (runtime, machine) in enumerate(pairs)
    }


def _clouds(plotted: Sequence[PlottedRun], along: PlotAxis, *, on_frontier: bool) -> list[Scatter]:
    """Return the points of each series with their intervals: those on the frontier, or all others."""
    size = POINT if on_frontier or len(plotted) <= MANY else SMALL_POINT
    traces = list["Scatter"]()
    for (runtime, machine), look in _series(plotted).items():
        runs = [
            one
            for one in plotted
            if (one.run.runtime, one.machine, one.run.on_frontier) == (runtime, machine, on_frontier)
        ]
        xs, errors = _along(along, runs), [along.error(one.run) for one in runs]
        traces += points(runs, xs, look.colour if on_frontier else GREY, look.name, errors, look.symbol, size)
    return traces


def _frontier_lines(report: ReportDocument, plotted: Sequence[PlottedRun], along: PlotAxis) -> list[Scatter]:
    """Return a line through each frontier, with a ring around each of its runs."""
    by_key = {one.run.key: one for one in plotted}
    lines = []
    for index, frontier in enumerate(report.frontier):
        runs = [by_key[run.key] for run in frontier.runs]
        line = graph_objects().Scatter(
            x=_along(along, runs),
            y=[one.milliseconds for one in runs],
            customdata=[one.index for one in runs],
            mode="lines+markers",
            name=plot_text(", ".join(("frontier", *_differences(frontier, report.frontier)))),
            line={"color": INK, "width": 1.5, "dash": ("solid", "dash", "dot", "dashdot")[index % 4]},
            marker={"symbol": "circle-open", "size": RING, "color": INK, "line": {"width": 1.5}},
            hoverinfo="skip",
            legendrank=1,
            meta={"kind": "frontier"},
        )
        lines.append(line)
    return lines


def _differences(one: ComparableRecord, everyone: Sequence[ComparableRecord]) -> list[str]:
    """Return the words for the fields in which frontiers differ."""
    columns = zip(*map(_words, everyone), strict=True)
    return [word for word, words in zip(_words(one), columns, strict=True) if len(set(words)) > 1]


def _words(one: ComparableRecord) -> tuple[str, str, str, str]:
    return one.device, one.machine, f"batch {one.batch}", PASSES[one.train]


def _keys(runs: Sequence[PlottedRun]) -> list[Scatter]:
    """Return the entries of the legends: the series; and what grey and hollow points are, where there are any.

    They stay when a filter removes points.
    """
    keys = [key(plot_text(one.name), one.name, color=one.colour, symbol=one.symbol) for one in _series(runs).values()]
    if any(not one.run.on_frontier for one in runs):
        keys.append(key("not on the frontier", "", color=GREY, legend="legend2"))
    if any(one.run.is_predicted for one in runs):
        keys.append(key("predicted, with its 90 % interval", "", color=GREY, symbol="circle-open", legend="legend2"))
    return keys

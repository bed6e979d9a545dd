"""The common style of all plots: colours and symbols, axes, points of runs, escaped text; and the plot of parts.

Plotly has no types: to the type checker its figures and traces are `Any`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure, Scatter

    from mnfpn_cli.documents.report import ReportDocument, ReportedRun

PlotLayout = dict[str, Any]
"""A part of a figure's layout, as plotly takes it."""

COLOURS = ("#2f81d8", "#e07b1f", "#2a9d6f", "#c4499a", "#8a63d2", "#c9a000", "#d2444f", "#3aa5b5")
"""Colours that the colour-blind can distinguish, on white and on black."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "hexagon")
INK, GRID = "#59636e", "#e3e6ea"
"""The colours of text and of grid lines on white; the page has its own."""

GREY = "#9aa3ad"
"""The colour of runs that are not on the frontier, on white and on black."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class PlottedRun:
    """A run with a time, which is measured and corrected for drift, or else predicted.

    Attributes:
        index: its position among all runs of the report.
        run: the run.
        milliseconds: the time.
        low: the lower end of its interval, in milliseconds; the time itself with too few samples.
        high: the upper end.
    """

    index: int
    run: ReportedRun
    milliseconds: float
    low: float
    high: float

    @property
    def machine(self) -> str:
        """The device and the kind of machine: times of one are comparable."""
        return f"{self.run.device} on {self.run.machine}"


def plotted_runs(report: ReportDocument) -> list[PlottedRun]:
    """Return the runs of a report that have a time, in their order."""
    plotted = []
    for index, run in enumerate(report.runs):
        if run.time_s:
            low, high = run.time_interval or (run.time_s, run.time_s)
            plotted.append(PlottedRun(index, run, 1e3 * run.time_s, 1e3 * low, 1e3 * high))
    return plotted


def figure(traces: Sequence[BaseTraceType], **layout: Any) -> Figure:
    """Return a figure in the common style.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    go = graph_objects()
    return go.Figure(data=list(traces)).update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 64, "r": 16, "t": 16, "b": 56},
        hovermode="closest",
        hoverlabel={"align": "left", "font": {"size": 12, "family": FONT}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
        **layout,
    )


def graph_objects() -> Any:
    """Return the module of plotly's figures and traces.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        needs = "pages and pictures need plotly, which is not installed: pip install 'mnfpn[report]'"
        raise MnfpnError(Problem("`output`", needs)) from None
    return go


def axis(title: str, **more: Any) -> PlotLayout:
    """Return the layout of an axis."""
    lines = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "showline": True, "ticks": "outside"}
    return {"title": {"text": title, "standoff": 12}, "tickcolor": GRID, "automargin": True, **lines, **more}


LEAST_TICKS, MOST_TICKS = 4, 10
TICK_DECADES = 0.31
"""From 0.3 powers of ten a tick, plotly's logarithmic axes have ticks at 1, 2 and 5 alone."""


def logarithmic(title: str, values: Iterable[float]) -> PlotLayout:
    """Return the layout of a logarithmic axis, large numbers with decimal prefixes.

    ``values``: the values along it. It has ticks at 1, 2 and 5, as nine in each power of ten would overlap.
    """
    along = list(values)
    decades = math.log10(max(along) / min(along)) if along else 0.0
    ticks = min(MOST_TICKS, max(LEAST_TICKS, int(decades / TICK_DECADES)))
    return axis(title, type="log", tickformat="~s" if max(along, default=0) >= 1e5 else ",~g", nticks=ticks)


def key(name: str, group: str, **look: str) -> Scatter:
    """Return an entry of the legend, which stays when a filter removes all points; it toggles its group."""
    legend = {"legend": look.pop("legend")} if "legend" in look else {}
    grouped = {"legendgroup": plot_text(group)} if group else {}
    marker = {"size": 9, **look}
    empty = {"x": [None], "y": [None], "mode": "markers", "meta": {"kind": "key"}}
    return graph_objects().Scatter(name=name, marker=marker, **empty, **grouped, **legend)


def plot_text(content: str) -> str:
    """Escape text for a plot, where plotly takes ``<b>`` for markup: texts of a store are none."""
    return escape(printable(content), quote=False)


def colours(runs: Sequence[PlottedRun]) -> dict[str, str]:
    """Return a colour for each runtime."""
    runtimes = sorted({one.run.runtime for one in runs})
    return {runtime: COLOURS[index % len(COLOURS)] for index, runtime in enumerate(runtimes)}


def points(
    runs: Sequence[PlottedRun],
    xs: Sequence[float],
    colour: str,
    group: str,
    errors: Sequence[float] = (),
    symbol: str = "circle",
    size: float = 7,
) -> list[Scatter]:
    """Return traces with the points of runs and their intervals: hollow and dotted where the time is predicted.

    Args:
        runs: the runs. ``customdata`` are their positions in the report.
        xs: where they are along x.
        colour: of points and bars.
        group: the name of the points, and the entry of the legend that shows and hides them.
        errors: the standard errors along x; none where there are none.
        symbol: the shape of a point.
        size: the size of a point, in pixels.
    """
    traces = list["Scatter"]()
    rows = list(zip(runs, xs, errors or [0.0] * len(runs), strict=True))
    if predicted := [row for row in rows if row[0].run.is_predicted]:
        look = {"color": colour, "symbol": f"{symbol}-open", "size": size, "line": {"width": 1.5}}
        traces += [_dotted_bars(predicted, colour, group), _cloud(predicted, group, look)]
    if measured := [row for row in rows if not row[0].run.is_predicted]:
        look = {"color": colour, "symbol": symbol, "size": size, "opacity": 0.85}
        traces.append(_cloud(measured, group, look).update(_bars(measured, colour)))
    return traces


_Points = list[tuple[PlottedRun, float, float]]
"""Runs, with the place and the error of each along x."""


def _cloud(rows: _Points, group: str, look: PlotLayout) -> Scatter:
    return graph_objects().Scatter(
        x=[x for _, x, _ in rows],
        y=[one.milliseconds for one, _, _ in rows],
        customdata=[one.index for one, _, _ in rows],
        mode="markers",
        marker=look,
        hoverinfo="text",
        meta={"kind": "runs"},
        **_hidden(group),
    )


def _hidden(group: str) -> PlotLayout:
    """Return what puts a trace into a group of the legend without an entry of its own."""
    return {"name": plot_text(group), "legendgroup": plot_text(group), "showlegend": False}


def _bars(rows: _Points, colour: str) -> PlotLayout:
    """Return error bars: along y the intervals of the times, along x the errors, where there are any."""
    bars = {"type": "data", "thickness": 1.2, "width": 3, "color": colour}
    upward = [one.high - one.milliseconds for one, _, _ in rows]
    downward = [one.milliseconds - one.low for one, _, _ in rows]
    errors = [error for _, _, error in rows]
    along_x = {"error_x": {**bars, "array": errors}} if any(errors) else {}
    return {"error_y": {**bars, "symmetric": False, "array": upward, "arrayminus": downward}, **along_x}


def _dotted_bars(rows: _Points, colour: str, group: str) -> Scatter:
    """Return the same bars as dotted lines, which plotly's error bars cannot be; None ends a line."""
    xs, ys = list[float | None](), list[float | None]()
    for one, x, error in rows:
        xs += [x, x, None]
        ys += [one.low, one.high, None]
        if error:
            xs += [x - error, x + error, None]
            ys += [one.milliseconds, one.milliseconds, None]
    return graph_objects().Scatter(
        x=xs,
        y=ys,
        customdata=[one.index for one, _, _ in rows],
        mode="lines",
        line={"color": colour, "width": 1.2, "dash": "dot"},
        hoverinfo="skip",
        meta={"kind": "intervals"},
        **_hidden(group),
    )


KINDS = ("stem", "stages", "laterals", "top-down", "smooth", "extra", "head", "rest")
"""Kinds of parts, with which their names start; each has a colour."""


def parts_figure() -> Figure:
    """Return the plot of parts without bars: the page adds those of the chosen run.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    bars = graph_objects().Bar(
        x=[], y=[], orientation="h", hoverinfo="text", textposition="outside", cliponaxis=False, name="time"
    )
    return figure(
        [bars],
        xaxis=axis("Time (ms)", rangemode="tozero"),
        yaxis={**axis(""), "autorange": "reversed", "type": "category", "ticks": "", "showgrid": False},
        showlegend=False,
    ).update_layout(margin_t=32)  # room for plotly's buttons


def part_colours() -> dict[str, str]:
    """Return the colour of each kind of part."""
    return dict(zip(KINDS, COLOURS, strict=True))

"""The common style of all plots: colours and symbols, axes, points of runs, escaped text; and the plot of parts.

Plotly has no types: to the type checker its figures and traces are `Any`.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plotly.basedatatypes import BaseTraceType
    from plotly.graph_objects import Figure, Scatter

    from mnfpn_cli.documents.records import LatencyRecord
    from mnfpn_cli.documents.report import ReportDocument, ReportedRun

PlotLayout = dict[str, Any]
"""A part of a figure's layout, as plotly takes it."""

COLOURS = ("#2f81d8", "#e07b1f", "#2a9d6f", "#c4499a", "#8a63d2", "#c9a000", "#d2444f", "#3aa5b5")
"""Colours that the colour-blind can distinguish, on white and on black."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "hexagon")
INK, GRID = "#59636e", "#e3e6ea"
"""The colours of text and of grid lines on white; the page has its own."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class PlottedRun:
    """A run that was measured; ``index``: its position among all runs of the report."""

    index: int
    run: ReportedRun
    latency: LatencyRecord

    @property
    def milliseconds(self) -> float:
        """The median in milliseconds, corrected for drift."""
        return 1e3 * (self.run.seconds or self.latency.median)

    @property
    def machine(self) -> str:
        """The device and the worker that measured the run."""
        return f"{self.run.device} on {self.run.worker}"


def plotted_runs(report: ReportDocument) -> list[PlottedRun]:
    """Return the measured runs of a report, in their order."""
    return [PlottedRun(index, run, run.latency_s) for index, run in enumerate(report.runs) if run.latency_s]


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


def logarithmic(title: str, values: Iterable[float]) -> PlotLayout:
    """Return the layout of a logarithmic axis, large numbers with decimal prefixes.

    ``values``: the values along it. Over less than two powers of ten it has few ticks: plotly's would overlap.
    """
    along = list(values)
    few = {"nticks": 4} if along and max(along) < 100 * min(along) else {}
    return axis(title, type="log", tickformat="~s" if max(along, default=0) >= 1e5 else ",~g", **few)


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


def symbols(runs: Sequence[PlottedRun]) -> dict[str, str]:
    """Return a symbol for each machine that measured."""
    machines = sorted({one.machine for one in runs})
    return {one: SYMBOLS[index % len(SYMBOLS)] for index, one in enumerate(machines)}


def cloud(runs: Sequence[PlottedRun], xs: Sequence[float], colour: str, **look: str | float) -> Scatter:
    """Return the points of runs of one runtime, with the 95 % intervals of medians; of length 0 with too few samples.

    ``customdata`` are the positions of the runs in the report.
    """
    medians = [one.milliseconds for one in runs]
    intervals = [_interval(one) for one in runs]
    runtime = plot_text(runs[0].run.runtime)
    return graph_objects().Scatter(
        x=list(xs),
        y=medians,
        customdata=[one.index for one in runs],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - median for (_, high), median in zip(intervals, medians, strict=True)],
            "arrayminus": [median - low for (low, _), median in zip(intervals, medians, strict=True)],
            "thickness": 1.2,
            "width": 3,
            "color": colour,
        },
        mode="markers",
        name=runtime,
        legendgroup=runtime,
        showlegend=False,
        marker={"color": colour, **look},
        hoverinfo="text",
        meta={"kind": "runs"},
    )


def _interval(one: PlottedRun) -> tuple[float, float]:
    """Return the 95 % interval of a run's median in milliseconds, corrected for drift as the median is."""
    low, high = one.latency.ci95 or (one.latency.median, one.latency.median)
    factor = one.milliseconds / one.latency.median
    return factor * low, factor * high


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

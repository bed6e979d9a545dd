"""What the plots have in common: colours and symbols by what is measured, axes, and text that is never markup."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnfpn_cli.report.points import Point

COLOURS = ("#2f81d8", "#e07b1f", "#2a9d6f", "#c4499a", "#8a63d2", "#c9a000", "#d2444f", "#3aa5b5")
"""Told apart by people who see colours differently, on white and on black."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "hexagon")
INK, GRID = "#59636e", "#e3e6ea"
"""Of text and grids on white; the page has its own."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"


def figure(traces: Sequence[Any], **layout: Any) -> Any:
    """A figure in the common style.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    go = graph_objects()
    made = go.Figure(data=list(traces))
    made.update_layout(
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
    return made


def graph_objects() -> Any:
    """Plotly's building blocks.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        needs = "pages and pictures need plotly, which is not installed: pip install 'mnfpn[report]'"
        raise MnfpnError(Problem("`output`", needs)) from None
    return go


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    lines = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "showline": True, "ticks": "outside"}
    return {"title": {"text": title, "standoff": 12}, "tickcolor": GRID, "automargin": True, **lines, **more}


def logarithmic(title: str, values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis, its numbers with decimal prefixes.

    ``values``: along the axis; within two powers of ten plotly would name every digit, and some on top of others.
    """
    found = list(values)
    few = {"nticks": 4} if found and max(found) < 100 * min(found) else {}
    return axis(title, type="log", tickformat="~s" if max(found, default=0) >= 1e5 else ",~g", **few)


def key(name: str, group: str, **look: Any) -> Any:
    """A line of the legend: a trace without points, which stays when filters leave none; its group goes with it."""
    legend = {"legend": look.pop("legend")} if "legend" in look else {}
    grouped = {"legendgroup": text(group)} if group else {}
    marker = {"size": 9, **look}
    empty = {"x": [None], "y": [None], "mode": "markers", "meta": {"kind": "key"}}
    return graph_objects().Scatter(name=name, marker=marker, **empty, **grouped, **legend)


def text(words: str) -> str:
    """Words for a plot, where ``<b>`` would be bold: names out of a store are no markup."""
    return escape(printable(words), quote=False)


def colours(points: Sequence[Point]) -> dict[str, str]:
    """A colour for each runtime."""
    runtimes = sorted({one.stored.execution.runtime for one in points})
    return {runtime: COLOURS[index % len(COLOURS)] for index, runtime in enumerate(runtimes)}


def symbols(points: Sequence[Point]) -> dict[str, str]:
    """A symbol for each machine that measured."""
    machines = sorted({machine(one) for one in points})
    return {one: SYMBOLS[index % len(SYMBOLS)] for index, one in enumerate(machines)}


def machine(point: Point) -> str:
    """What measured a run: its device and worker."""
    return f"{point.stored.device} on {point.worker}"


def error_bars(points: Sequence[Point]) -> dict[str, Any]:
    """The 95 % intervals of medians in milliseconds; none where the samples were too few."""
    medians, ends = [milliseconds(one) for one in points], [_interval(one) for one in points]
    return {
        "type": "data",
        "symmetric": False,
        "array": [1e3 * high - middle for (_, high), middle in zip(ends, medians, strict=True)],
        "arrayminus": [middle - 1e3 * low for (low, _), middle in zip(ends, medians, strict=True)],
        "thickness": 1.2,
        "width": 3,
    }


def _interval(point: Point) -> tuple[float, float]:
    assert point.latency
    return point.latency.interval or (point.latency.median, point.latency.median)


def milliseconds(point: Point) -> float:
    """The median of a run that was measured."""
    assert point.latency
    return 1e3 * point.latency.median


KINDS = ("stem", "stages", "laterals", "top-down", "smooth", "extra", "head", "rest")
"""What a part's name begins with; each has a colour."""


def parts_figure() -> Any:
    """The plot without bars: the page puts those of the chosen run into it.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    bars = graph_objects().Bar(
        x=[], y=[], orientation="h", hoverinfo="text", textposition="outside", cliponaxis=False, name="time"
    )
    made = figure(
        [bars],
        xaxis=axis("Time (ms)", rangemode="tozero"),
        yaxis={**axis(""), "autorange": "reversed", "type": "category", "ticks": "", "showgrid": False},
        showlegend=False,
    )
    return made.update_layout(margin_t=32)  # the buttons have a line of their own


def part_colours() -> dict[str, str]:
    """The colour of each kind of part."""
    return dict(zip(KINDS, COLOURS, strict=True))

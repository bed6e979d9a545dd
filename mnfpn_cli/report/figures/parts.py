"""Where the time of a pass goes: a bar for each part of a network, or for each of its layers."""

from __future__ import annotations

from typing import Any

from mnfpn_cli.report.figures.style import COLOURS, axis, figure, graph_objects

KINDS = ("stem", "stages", "laterals", "top-down", "smooth", "extra", "head", "rest")
"""What a part's name begins with; each has a colour."""


def parts_figure() -> Any:
    """The plot without bars: the page puts those of the chosen cell into it.

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

"""The frontier's plot as a picture file, drawn by a browser that kaleido runs."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.figures.frontier import frontier_figure

if TYPE_CHECKING:
    from mnfpn_cli.report.points import Points

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
INSTALL = "install Chromium or Chrome (Debian: apt-get install chromium), or name one in BROWSER_PATH"
WIDTH, HEIGHT, SCALE = 1000, 620, 2


def frontier_picture(points: Points, form: str) -> bytes:
    """The plot on white as ``png`` or ``svg``.

    Raises:
        MnfpnError: where nothing is measured; plotly, kaleido or a browser is missing; the browser cannot draw.
    """
    if not points.frontier:
        raise MnfpnError(Problem("`format`", "there is nothing to plot: no cell of the store is measured"))
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

"""The page: its parts put into the template, with everything that it needs inside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from mnfpn_cli import __version__
from mnfpn_cli.report.figures.frontier import COSTS
from mnfpn_cli.report.figures.style import graph_objects
from mnfpn_cli.report.page.data import page_data
from mnfpn_cli.report.page.texts import environment_html, no_parts_html, notices_html, subtitle_html, warnings_html
from mnfpn_cli.report.points import KEPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnfpn_cli.report.points import Points


def report_page(points: Points, store: str, made: datetime | None = None) -> str:
    """One HTML page that needs nothing else, and lets nothing be fetched.

    Args:
        points: what the report is of.
        store: what it is called by.
        made: the moment; now where none is given.

    Raises:
        MnfpnError: where plotly is not installed.
    """
    graph_objects()
    from plotly.offline import get_plotlyjs

    plotly, script = get_plotlyjs(), _file("page.js")
    data = page_data(points)
    return _filled(
        _file("template.html"),
        {
            "policy": _policy(plotly, script),
            "version": escape(__version__),
            "title": escape(f"mnfpn report: {store}"),
            "css": _file("page.css"),
            "subtitle": subtitle_html(points),
            "notices": notices_html(points),
            "costs": _costs(),
            "no_parts": no_parts_html(points),
            "kept": escape(KEPT),
            "environment": environment_html(points),
            "warnings": warnings_html(points),
            "made": f"{made or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "data": _as_script_data(data),
            "plotly": plotly,
            "script": script,
        },
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with its parts, each put in once: what is put in is not looked through again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _policy(*scripts: str) -> str:
    """Only these scripts run, and nothing is fetched, whatever a store's texts would want."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    images = "img-src data: blob:"
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; {images}; base-uri 'none'"


def _as_script_data(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _costs() -> str:
    names = {"macs": "MACs", "parameters": "Parameters", "memory_bytes": "Memory"}
    return "".join(
        f'<label><input type="radio" name="cost" value="{cost}"{" checked" * (cost == "macs")}>'
        f"<span>{names[cost]}</span></label>"
        for cost in COSTS
    )

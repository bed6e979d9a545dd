"""Render the page of a report: one HTML file with its data, its scripts and its style sheet inside."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.report.figures.style import graph_objects
from mnfpn_cli.report.page.content import moment, page_content
from mnfpn_cli.report.page.data import page_data
from mnfpn_cli.report.units import count
from mnfpn_cli.text import all_printable, counted, percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Template

    from mnfpn_cli.documents.report import PageDocument


PLOTLY = "plotly-basic.min.js"
"""Plotly's bundle of points, lines and bars, 4.1.1, as the package plotly.js-basic-dist-min of npm has it (MIT).

Python's package of plotly has only the bundle of all plots, which is four times as large.
"""


def report_page(page: PageDocument, spell: Callable[[str], str], made: datetime | None = None) -> str:
    """Return an HTML page that needs no other file, and forbids the browser to load any.

    Args:
        page: the report, with what its page shows besides.
        spell: replaces the parameters in backquotes in a text, with options of the command line.
        made: the time in the footer; None for now.

    Raises:
        MnfpnError: where plotly or Jinja2 is not installed.
    """
    graph_objects()
    template = _template("page.html", spell)
    scripts = [_file(PLOTLY), _file("page.js")]
    return template.render(
        policy=_policy(scripts),
        version=__version__,
        store=page.store,
        made=made or datetime.now(UTC),
        css=_file("page.css"),
        scripts=scripts,
        content=page_content(page),
        objective=spell(page.objective),
        data=all_printable(page_data(page, spell).model_dump(mode="json")),
    )


def _template(name: str, spell: Callable[[str], str]) -> Template:
    """Return a template in which every value is escaped: as text of HTML, or with the filter ``tojson`` as JSON.

    A name without a value is an error.

    Raises:
        MnfpnError: where Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        needs = "pages need Jinja2, which is not installed: pip install 'mnfpn[report]'"
        raise MnfpnError(Problem("`output`", needs)) from None
    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: all_printable(value) if type(value) is str else value,  # a script is `Markup`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"count": count, "counted": counted, "moment": moment, "percent": percent, "spelled": spell}
    return environment.get_template(name)


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """Return a content security policy: these scripts alone run, and nothing is loaded, whatever texts a store has."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    images = "img-src data: blob:"
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; {images}; base-uri 'none'"

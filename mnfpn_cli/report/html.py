"""Write a report as HTML for a notebook: complete, without scripts, and readable on light and dark backgrounds."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from mnfpn_cli.errors import PARAMETER
from mnfpn_cli.report.terminal.tables import Forms, Line, Table, with_short_columns_whole
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnfpn_cli.report.terminal.tables import Cell, Column, Report

COLOURS = {
    "green": "#1a8a3a",
    "yellow": "#9c7000",
    "red": "#e0353f",
    "cyan": "#0a83a3",
    "magenta": "#bd40c8",
    "bright_blue": "#3878da",
    "bright_yellow": "#9c7000",
}
"""Colours that stand out from white as well as from black: a notebook does not say which of both it is on."""

RULES = {
    "table": "border-collapse:collapse;border:0;margin:.6em 0;font-variant-numeric:tabular-nums",
    "caption": "caption-side:top;text-align:left;font-weight:bold;padding:0 0 .3em .4em;color:inherit;white-space:pre",
    "th": "text-align:left;vertical-align:bottom;border:0;padding:.2em 1.2em .2em .4em;white-space:pre",
    "td": "text-align:left;vertical-align:top;border:0;padding:.2em 1.2em .2em .4em;white-space:pre-wrap",
    ".number": "text-align:right",
    ".whole": "white-space:pre",
    "thead": "border:0;border-bottom:1px solid #888",
    "tbody+tbody": "border:0;border-top:1px solid #888",
    "div": "white-space:pre-wrap;padding-left:.4em",
    "pre": "font:13px/16px monospace;white-space:pre;margin:.6em 0;padding:0 0 0 .4em;background:none;color:inherit",
    "code": "background:none;color:inherit;padding:0",
    ".bold": "font-weight:bold",
    ".dim": "opacity:.7",
    **{f".{name}": f"color:{colour}" for name, colour in COLOURS.items()},
}
"""How elements and classes look."""

STYLE = ".mnfpn{overflow-x:auto}" + "".join(f".mnfpn.mnfpn {name}{{{rule}}}" for name, rule in RULES.items())
"""The style sheet. The class is there twice to outrank the rules of Jupyter, which align all cells to the right."""


def as_html(report: Report) -> str:
    """Return the HTML of a report: a table for each table in its widest form, and a block for each line.

    A line that must not be broken, as of a drawing or a command, is preformatted. All text is escaped.
    """
    parts = "".join(
        _preformatted(group) if whole else "".join(map(_part, group))
        for whole, group in groupby(_items(report), key=lambda item: isinstance(item, Line) and item.whole)
    )
    return f'<div class="mnfpn"><style>{STYLE}</style>{parts}</div>'


def _items(report: Report) -> Iterator[Table | Line]:
    """Yield the parts of a report, with drawings as their lines."""
    for item in report:
        if isinstance(item, Line):
            yield item
        elif isinstance(item, Table | Forms):
            yield with_short_columns_whole(item if isinstance(item, Table) else item.tables[0])
        else:
            yield from (line for line in item.lines(None) if line.text)


def _preformatted(lines: Iterable[Table | Line]) -> str:
    text = "\n".join(_element("span", _marked(line), line.style) for line in lines if isinstance(line, Line))
    return f"<pre>{text}</pre>"


def _part(item: Table | Line) -> str:
    if isinstance(item, Table):
        return _table(item)
    return _element("div", _marked(item), item.style, f' style="margin-left:{item.indent}em"' if item.indent else "")


def _element(name: str, content: str, classes: str = "", attributes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f"<{name}{named}{attributes}>{content}</{name}>"


def _marked(line: Line) -> str:
    """Return the text of a line with its marks; where two overlap, only the first of them."""
    found = [(*match.span(), style) for pattern, style in line.marks for match in re.finditer(pattern, line.text)]
    parts, end = list[str](), 0
    for start, stop, style in sorted(found):
        if start >= end:
            parts += [_text(line.text[end:start]), _element("span", _text(line.text[start:stop]), style)]
            end = stop
    return "".join([*parts, _text(line.text[end:])])


def _text(text: str) -> str:
    return PARAMETER.sub(r"<code>\1</code>", escape(text))


def _table(table: Table) -> str:
    caption = _element("caption", _text(printable(table.title))) if table.title else ""
    headers = "".join(_element("th", _text(column.header), _classes(column)) for column in table.columns)
    head = f"<thead><tr>{headers}</tr></thead>" if table.show_header else ""
    body = ""
    for index, cells in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        section = "</tbody><tbody>" if index and index in table.sections else ""
        body += section + _element("tr", "".join(map(_cell, cells, table.columns)))
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _cell(cell: Cell, column: Column) -> str:
    line = Line(cell) if isinstance(cell, str) else cell if isinstance(cell, Line) else cell.within(cell.full_width)
    content = _marked(line).rstrip() if column.numbers else _marked(line)
    return _element("td", content, f"{_classes(column)} {line.style}".strip())


def _classes(column: Column) -> str:
    return " ".join(["number"] * column.numbers + ["whole"] * column.no_wrap)

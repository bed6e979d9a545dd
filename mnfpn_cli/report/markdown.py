"""Write a report as Markdown for GitHub: a comment of a pull request, the summary of a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.plain import complete
from mnfpn_cli.report.terminal.tables import Forms, Line, Table
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnfpn_cli.report.terminal.tables import Drawing, Report

SIGNS = re.compile(r"([\\*_#\[\]|~`])")
"""Characters that would format a text."""


def as_markdown(report: Report, spell: Callable[[str], str]) -> str:
    """Return the Markdown of a report: a table for each table in its widest form, and a paragraph for each line.

    ``spell`` spells the parameters that a line names in backquotes.
    """
    return "\n".join(block for item in report for block in _blocks(item, spell))


def _blocks(item: Table | Forms | Line | Drawing, spell: Callable[[str], str]) -> Iterator[str]:
    if isinstance(item, Forms):
        item = item.tables[0]
    if isinstance(item, Table):
        yield from [f"**{escaped(item.title)}**\n"] if item.title else []
        yield _table(item)
        return
    for line in [item] if isinstance(item, Line) else item.lines(None):
        text = escaped(spell(line.text))
        yield f"**{text}**\n" if "bold" in line.style else f"{text}\n"


def _table(table: Table) -> str:
    names = [escaped(column.header if table.show_header else "") for column in table.columns]
    rules = ["---:" if column.numbers else "---" for column in table.columns]
    rows = zip(*([escaped(complete(cell)) for cell in column.cells] for column in table.columns), strict=True)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (names, rules, *rows))


def escaped(text: str) -> str:
    """Return a text in which nothing formats, in one line of HTML."""
    safe = printable(text, keep="\n").replace("&", "&amp;").replace("<", "&lt;")
    return SIGNS.sub(r"\\\1", safe).replace("\n", "<br>")

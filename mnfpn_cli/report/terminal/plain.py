"""Print a report as plain text for a pipe or a file: every cell complete, a row on a line, no colours."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import GAP, Forms, Line, Table, width_of
from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnfpn_cli.report.terminal.tables import Cell, Column, Drawing, Report


def as_text(report: Report) -> str:
    """Return the text of a report, with an empty line above each table that does not come first."""
    lines = (line for index, item in enumerate(report) for line in _lines(item, first=index == 0))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _lines(item: Table | Forms | Line | Drawing, *, first: bool) -> Iterator[str]:
    if isinstance(item, Forms):
        item = item.tables[0]
    if isinstance(item, Table):
        if not first:
            yield ""
        yield from _table(item)
        return
    for line in [item] if isinstance(item, Line) else item.lines(None):
        yield from (" " * line.indent + part for part in line.text.split("\n"))


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield printable(table.title)
    columns = [_column(column, header=table.show_header) for column in table.columns]
    widths = [_width(column) for column in columns]
    for row in zip(*columns, strict=True):
        for parts in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
            yield (" " * GAP).join(map(_padded, parts, table.columns, widths))


def _column(column: Column, *, header: bool) -> list[str]:
    return [*([column.header] if header else []), *map(complete, column.cells)]


def complete(cell: Cell) -> str:
    """Return the whole text of a cell."""
    return str(cell) if isinstance(cell, str | Line) else cell.within(cell.full_width).text


def _width(cells: list[str]) -> int:
    return max((width_of(part) for cell in cells for part in cell.split("\n")), default=0)


def _padded(text: str, column: Column, width: int) -> str:
    text = text.rstrip() if column.numbers else text
    space = " " * (width - width_of(text))
    return space + text if column.numbers else text + space

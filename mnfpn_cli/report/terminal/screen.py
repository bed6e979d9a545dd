"""Print a report on a terminal with rich, in colours and fitted to the width. No other file here imports rich."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import ConsoleDimensions
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from mnfpn_cli.report.terminal.tables import FlexibleCell, Forms, Line, Table, fitted, least_width, note, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from mnfpn_cli.report.terminal.tables import Cell, Report


def print_report(report: Report, console: Console) -> None:
    """Print a report in the width of the screen, with an empty line above each table."""
    for index, item in enumerate(report):
        if isinstance(item, Table | Forms):
            for part in fitted(item, console.width):
                if index or part.title is None:
                    console.print()
                _print_table(part, console)
            continue
        for line in [item] if isinstance(item, Line) else item.lines(console.width if console.is_terminal else None):
            print_line(line, console)


def print_line(line: Line, console: Console) -> None:
    """Print a line; a long line is broken between words."""
    text = _text(line)
    indented = Padding(text, (0, 0, 0, line.indent), expand=False) if line.indent else text
    console.print(indented, soft_wrap=line.whole)


def _text(line: Line) -> Text:
    text = Text.from_ansi(line.text, style=line.style) if line.ansi else Text(line.text, style=line.style)
    if line.whole:
        text.no_wrap, text.overflow = True, "ignore"
    for pattern, style in line.marks:
        text.highlight_regex(pattern, style)
    return text


def _print_table(table: Table, console: Console) -> None:
    """Print a table, wider than the screen if need be, as rich would cut digits off."""
    if table.title:
        print_line(note(table.title, "bold"), console)  # within the table it would be broken at the table's width
    screen = console.size
    # rich ignores a width without a height on a dumb terminal.
    console.size = ConsoleDimensions(max(screen.width, least_width(table)), screen.height)
    console.print(_rich_table(table))
    console.size = screen


def _rich_table(table: Table) -> RichTable:
    made = RichTable(
        header_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
        show_header=table.show_header,
    )
    for column in table.columns:
        made.add_column(
            Text(column.header),
            justify="right" if column.numbers else "left",
            no_wrap=column.no_wrap,
            overflow="fold",
        )
    for index, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if index in table.sections:
            made.add_section()
        made.add_row(*map(_cell, row))
    return made


def _cell(cell: Cell) -> RenderableType:
    if isinstance(cell, str):
        return Text(cell)
    return _text(cell) if isinstance(cell, Line) else _RichCell(cell)


@dataclass(frozen=True)
class _RichCell:
    """A cell whose form depends on the width of its column."""

    cell: FlexibleCell

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(width_of(str(self.cell)), self.cell.full_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        text = _text(self.cell.within(options.max_width))
        text.overflow = "fold"
        yield text

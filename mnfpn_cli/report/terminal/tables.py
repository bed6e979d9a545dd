"""The one kind of table that every report is made of, made to fit a screen."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.table import Column

Report = list[RenderableType]


class PlainTable(Table):
    """A table whose texts are never read as markup, and steer no terminal."""

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
        """Add a row; a text that is no `Text` yet becomes a `note`."""
        super().add_row(*(note(cell) if isinstance(cell, str) else cell for cell in cells), **how)


def table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name begins with ``>`` holds numbers: aligned to the right, never broken."""
    made = PlainTable(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    for name in columns:
        numbers = name.startswith(">")
        made.add_column(
            name.removeprefix(">"), justify="right" if numbers else "left", no_wrap=numbers, overflow="fold"
        )
    return made


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of names and values."""
    made = table(title, "", "")
    made.show_header = False
    for row in rows:
        made.add_row(*row)
    return made


def note(text: str, style: str = "") -> Text:
    """A line of its own, never read as markup; names out of files can hold anything, and must not steer a terminal."""
    return Text(printable(text), style=style)


def warning(text: str) -> Text:
    """What makes a result less sure than it looks, spelled as on standard error."""
    return note(f"warning: {text}", "yellow")


def command(text: str, style: str = "") -> Text:
    """What is to be copied from a terminal: one line, which only the terminal itself may break."""
    return Text(printable(text), style=style, no_wrap=True, overflow="ignore")


TEXT_WIDTH = 16
"""The least width of a column of text; one that is no wider than this is never broken."""

GAP = 2
"""Between columns."""


@dataclass(frozen=True)
class Forms:
    """One table in several forms, the widest first: a screen shows the first that fits, a file the first of all."""

    tables: tuple[Table, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield from fitted(self, options.max_width)


@dataclass(frozen=True)
class Items:
    """Short phrases with commas between them: a line is broken behind a comma, never within a phrase that fits."""

    items: tuple[str, ...]

    def __str__(self) -> str:
        return max(self._parts, key=cell_len)

    @property
    def _parts(self) -> list[str]:
        *others, last = map(printable, self.items)
        return [*(f"{item}," for item in others), last]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(cell_len(str(self)), cell_len(" ".join(self._parts)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        lines = [""]
        for part in self._parts:
            longer = f"{lines[-1]} {part}".lstrip()
            if cell_len(longer) <= options.max_width:
                lines[-1] = longer
            else:
                lines.append(part)
        yield Text("\n".join(line for line in lines if line), overflow="fold")


def phrases(text: str) -> Items:
    """A text with commas in it, to be broken behind these alone."""
    return Items(tuple(text.split(", ")))


def fitted(item: Table | Forms, width: int) -> list[Table]:
    """The tables that show it on a screen of so many columns, the title on the first of them.

    That is one where any form fits. Else it is the last form in parts below each other, each with the first column.
    """
    forms = item.tables if isinstance(item, Forms) else (item,)
    for form in forms:
        keep_short_text_whole(form)
        if least_width(form) <= width:
            return [form]
    return list(_parts(forms[-1], width))


def keep_short_text_whole(table: Table) -> None:
    """Have a table broken only where its text is long: rich would break ``all`` as well as a path beside it."""
    for column in table.columns:
        cells = [column.header, *column.cells]
        # A cell that is neither has shorter forms of its own for a narrow column.
        column.no_wrap |= all(isinstance(cell, str | Text) and cell_len(str(cell)) <= TEXT_WIDTH for cell in cells)


def least_width(table: Table) -> int:
    """The width of a table whose numbers are whole and whose text is broken into lines."""
    return _least(table.columns)


def _least(columns: Sequence[Column]) -> int:
    widths = GAP * (len(columns) - 1)
    for column in columns:
        longest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        widths += longest if column.no_wrap else min(longest, TEXT_WIDTH)
    return widths


def _parts(table: Table, width: int) -> Iterator[Table]:
    first, *others = table.columns
    groups: list[list[Column]] = [[]]
    for column in others:
        if groups[-1] and _least([first, *groups[-1], column]) > width:
            groups.append([])
        groups[-1].append(column)
    for number, group in enumerate(groups):
        part = copy(table)
        part.columns = [replace(column, _index=index) for index, column in enumerate([first, *group])]
        part.title = table.title if number == 0 else None
        yield part

"""What every report is made of, as data: tables, lines, and what has shorter forms. `plain` and `screen` show them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes:
        text: what it says; a screen breaks it where it is too long.
        style: its colour and weight on a screen, as ``bold red``.
        marks: patterns, each with the style of what matches it.
        whole: whether a screen must leave it as it is.
        indent: columns before it, and before each line that a screen breaks it into.
        ansi: whether the text has escape sequences, for a screen alone.
    """

    text: str
    style: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    whole: bool = False
    indent: int = 0
    ansi: bool = False

    def __str__(self) -> str:
        return self.text


class Flexible(Protocol):
    """A cell that is shorter where its column is narrow; as a text, it is what needs the least room."""

    @property
    def most(self) -> int:
        """The columns that its longest form takes."""

    def within(self, width: int) -> Line:
        """The form for so many columns."""


class Drawing(Protocol):
    """A picture that is drawn when it is known where."""

    def lines(self, width: int | None) -> Iterator[Line]:
        """The picture for a screen of so many columns; None: for a file."""


Cell = str | Line | Flexible


@dataclass
class Column:
    """A column of a table: numbers stand to the right; what is not to be broken is ``no_wrap``."""

    header: str
    numbers: bool
    no_wrap: bool
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Table:
    """Columns of cells under a title; ``sections`` are the rows above which there is a line."""

    title: str | None
    columns: list[Column]
    show_header: bool = True
    sections: set[int] = field(default_factory=set)

    @property
    def height(self) -> int:
        """The number of rows."""
        return len(self.columns[0].cells)

    def add_row(self, *cells: Cell) -> None:
        """Add a cell to each column; those that are not given are empty."""
        empty = [""] * (len(self.columns) - len(cells))
        for column, cell in zip(self.columns, [*cells, *empty], strict=True):
            column.cells.append(printable(cell) if isinstance(cell, str) else cell)

    def add_section(self) -> None:
        """Draw a line above the next row."""
        self.sections.add(self.height)


def table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name begins with ``>`` holds numbers: aligned to the right, never broken."""
    return Table(
        title, [Column(name.removeprefix(">"), name.startswith(">"), name.startswith(">")) for name in columns]
    )


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of names and values."""
    made = table(title, "", "")
    made.show_header = False
    for row in rows:
        made.add_row(*row)
    return made


def note(text: str, style: str = "", indent: int = 0) -> Line:
    """A line of its own; names out of files can hold anything, and must not steer a terminal."""
    return Line(printable(text), style, indent=indent)


def warning(text: str) -> Line:
    """What makes a result less sure than it looks, spelled as on standard error."""
    return note(f"warning: {text}", "yellow")


def command(text: str, style: str = "") -> Line:
    """What is to be copied from a terminal: one line, which only the terminal itself may break."""
    return Line(printable(text), style, whole=True)


def width_of(text: str) -> int:
    """The columns that a text takes: two for a wide sign, none for one that is set upon another."""
    return len(text) if text.isascii() else sum(map(_sign_width, text))


def _sign_width(sign: str) -> int:
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


TEXT_WIDTH = 16
"""The least width of a column of text; one that is no wider than this is never broken."""

GAP = 2
"""Between columns."""


@dataclass(frozen=True)
class Forms:
    """One table in several forms, the widest first: a screen shows the first that fits, a file the first of all."""

    tables: tuple[Table, ...]


Report = list[Table | Forms | Line | Drawing]


@dataclass(frozen=True)
class Items:
    """Short phrases with commas between them: a line is broken behind a comma, never within a phrase that fits."""

    items: tuple[str, ...]

    def __str__(self) -> str:
        return max(self._parts, key=width_of)

    @property
    def _parts(self) -> list[str]:
        *others, last = map(printable, self.items)
        return [*(f"{item}," for item in others), last]

    @property
    def most(self) -> int:
        """The columns that all of them take."""
        return width_of(" ".join(self._parts))

    def within(self, width: int) -> Line:
        """As many on a line as there is room for."""
        lines = [""]
        for part in self._parts:
            longer = f"{lines[-1]} {part}".lstrip()
            if width_of(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
        return Line("\n".join(line for line in lines if line))


def phrases(text: str) -> Items:
    """A text with commas in it, to be broken behind these alone."""
    return Items(tuple(text.split(", ")))


def fitted(item: Table | Forms, width: int) -> list[Table]:
    """The tables that show it on a screen of so many columns, the title on the first of them.

    That is one where any form fits. Else it is the last form in parts below each other, each with the first column.
    """
    forms = item.tables if isinstance(item, Forms) else (item,)
    whole = [short_text_whole(form) for form in forms]
    for form in whole:
        if least_width(form) <= width:
            return [form]
    return list(_parts(whole[-1], width))


def short_text_whole(table: Table) -> Table:
    """A table broken only where its text is long: a screen would break ``all`` as well as a path beside it."""
    return replace(table, columns=[replace(one, no_wrap=one.no_wrap or _is_short(one)) for one in table.columns])


def _is_short(column: Column) -> bool:
    # A cell that is neither has shorter forms of its own for a narrow column.
    cells = [column.header, *column.cells]
    return all(isinstance(cell, str | Line) and width_of(str(cell)) <= TEXT_WIDTH for cell in cells)


def least_width(table: Table) -> int:
    """The width of a table whose numbers are whole and whose text is broken into lines."""
    return _least(table.columns)


def _least(columns: Sequence[Column]) -> int:
    widths = GAP * (len(columns) - 1)
    for column in columns:
        longest = max(width_of(str(cell)) for cell in (column.header, *column.cells))
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
        yield replace(table, columns=[first, *group], title=table.title if number == 0 else None)

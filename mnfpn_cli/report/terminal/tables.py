"""The parts of a report as data: tables, lines, and cells with shorter forms. `plain` and `screen` print them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from mnfpn_cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnfpn_cli.documents.records import WarningRecord


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes:
        text: the text; a screen breaks it where it is too long.
        style: the colour and weight on a screen, as ``bold red``.
        marks: regular expressions, each with the style of its matches.
        whole: whether a screen must not break the line.
        indent: columns before the text, also after each break.
        ansi: whether the text has escape sequences, which only a screen understands.
    """

    text: str
    style: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    whole: bool = False
    indent: int = 0
    ansi: bool = False

    def __str__(self) -> str:
        return self.text


class FlexibleCell(Protocol):
    """A cell with a shorter form for a narrow column; `str` gives the text that sets its least width."""

    @property
    def full_width(self) -> int:
        """The width of its longest form, in columns of the screen."""

    def within(self, width: int) -> Line:
        """The form for a column of this width."""


class Drawing(Protocol):
    """A picture that depends on the width of the screen."""

    def lines(self, width: int | None) -> Iterator[Line]:
        """The picture for a screen of this width; None for a file."""


Cell = str | Line | FlexibleCell


@dataclass
class Column:
    """A column of a table; ``numbers`` are aligned to the right, ``no_wrap`` keeps cells on one line."""

    header: str
    numbers: bool
    no_wrap: bool
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Table:
    """Columns of cells under a title; ``sections`` are the indices of rows that have a line above them."""

    title: str | None
    columns: list[Column]
    show_header: bool = True
    sections: set[int] = field(default_factory=set)

    @property
    def height(self) -> int:
        """The number of rows."""
        return len(self.columns[0].cells)

    def add_row(self, *cells: Cell) -> None:
        """Add a cell to each column; the last columns may be left out, and are empty then."""
        empty = [""] * (len(self.columns) - len(cells))
        for column, cell in zip(self.columns, [*cells, *empty], strict=True):
            column.cells.append(printable(cell) if isinstance(cell, str) else cell)

    def add_section(self) -> None:
        """Draw a line above the next row."""
        self.sections.add(self.height)


def table(title: str, *columns: str) -> Table:
    """Make an empty table; ``>`` before the name of a column is for numbers: aligned to the right, never broken."""
    return Table(
        title, [Column(name.removeprefix(">"), name.startswith(">"), name.startswith(">")) for name in columns]
    )


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Make a table of names and values, without a header."""
    made = table(title, "", "")
    made.show_header = False
    for row in rows:
        made.add_row(*row)
    return made


def note(text: str, style: str = "", indent: int = 0) -> Line:
    """Make a line; control characters, which names of files may have, are escaped."""
    return Line(printable(text), style, indent=indent)


def recorded_warning(record: WarningRecord) -> Line:
    """Make a line of a recorded warning."""
    return warning(warning_text(record))


def warning_text(record: WarningRecord) -> str:
    """Return the cause of a warning, and what helps if anything does."""
    return f"{record.cause}." + (f" What helps: {record.helps}." if record.helps else "")


def warning(text: str) -> Line:
    """Make a line of a warning, spelled as on standard error."""
    return note(f"warning: {text}", "yellow")


def command(text: str, style: str = "") -> Line:
    """Make a line of a command to copy: only the terminal itself breaks it."""
    return Line(printable(text), style, whole=True)


def width_of(text: str) -> int:
    """The width of a text in columns of the screen: two for a wide character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


TEXT_WIDTH = 16
"""The least width of a column of text; a column that is no wider is never broken."""

GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True)
class Forms:
    """A table in several forms, the widest first: a screen shows the first that fits, a file the first of all."""

    tables: tuple[Table, ...]


Report = list[Table | Forms | Line | Drawing]


@dataclass(frozen=True)
class Phrases:
    """A cell of short phrases with commas between them, which is broken after commas alone."""

    phrases: tuple[str, ...]

    def __str__(self) -> str:
        return max(self._parts, key=width_of)

    @property
    def _parts(self) -> list[str]:
        *others, last = map(printable, self.phrases)
        return [*(f"{phrase}," for phrase in others), last]

    @property
    def full_width(self) -> int:
        """The width of all phrases on one line."""
        return width_of(" ".join(self._parts))

    def within(self, width: int) -> Line:
        """As many phrases on each line as fit."""
        lines = [""]
        for part in self._parts:
            longer = f"{lines[-1]} {part}".lstrip()
            if width_of(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
        return Line("\n".join(line for line in lines if line))


def phrases(text: str) -> Phrases:
    """Make a cell of a text that is broken after its commas alone."""
    return Phrases(tuple(text.split(", ")))


def fitted(item: Table | Forms, width: int) -> list[Table]:
    """Return the widest form that fits a screen of this width.

    Where none fits, return the last form in parts, each with the first column; the first part has the title.
    """
    tables = item.tables if isinstance(item, Forms) else (item,)
    forms = [with_short_columns_whole(table) for table in tables]
    for form in forms:
        if least_width(form) <= width:
            return [form]
    return list(_parts(forms[-1], width))


def with_short_columns_whole(table: Table) -> Table:
    """Keep columns of short text on one line: to make room, a screen would break ``all`` as well as a long path."""
    columns = [replace(column, no_wrap=column.no_wrap or _is_short(column)) for column in table.columns]
    return replace(table, columns=columns)


def _is_short(column: Column) -> bool:
    # Any other cell has a shorter form of its own for a narrow column.
    cells = [column.header, *column.cells]
    return all(isinstance(cell, str | Line) and width_of(str(cell)) <= TEXT_WIDTH for cell in cells)


def least_width(table: Table) -> int:
    """The least width of a table, with numbers whole and text broken into lines."""
    return _least_width(table.columns)


def _least_width(columns: Sequence[Column]) -> int:
    widths = GAP * (len(columns) - 1)
    for column in columns:
        longest = max(width_of(str(cell)) for cell in (column.header, *column.cells))
        widths += longest if column.no_wrap else min(longest, TEXT_WIDTH)
    return widths


def _parts(table: Table, width: int) -> Iterator[Table]:
    first, *others = table.columns
    groups: list[list[Column]] = [[]]
    for column in others:
        if groups[-1] and _least_width([first, *groups[-1], column]) > width:
            groups.append([])
        groups[-1].append(column)
    for number, group in enumerate(groups):
        yield replace(table, columns=[first, *group], title=table.title if number == 0 else None)

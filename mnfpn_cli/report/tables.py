"""The one kind of table that every report is made of."""

from collections.abc import Iterable

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

TEXT_WIDTH = 16
"""The least width of a column of text; one that is no wider than this is never broken."""

Report = list[RenderableType]


def table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name begins with ``>`` holds numbers: aligned to the right, never broken."""
    made = Table(
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


def keep_short_text_whole(table: Table) -> None:
    """Have a table broken only where its text is long: rich would break ``all`` as well as a path beside it."""
    for column in table.columns:
        cells = [column.header, *column.cells]
        # A cell that is no string has shorter forms of its own for a narrow column.
        column.no_wrap |= all(isinstance(cell, str) and cell_len(cell) <= TEXT_WIDTH for cell in cells)


def least_width(table: Table) -> int:
    """The width of a table whose numbers are whole and whose text is broken into lines."""
    widths = 2 * (len(table.columns) - 1)
    for column in table.columns:
        longest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        widths += longest if column.no_wrap else min(longest, TEXT_WIDTH)
    return widths


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of names and values."""
    made = table(title, "", "")
    made.show_header = False
    for row in rows:
        made.add_row(*row)
    return made


def note(text: str, style: str = "") -> Text:
    """A line of its own, never read as markup; names out of files can hold anything, and must not steer a terminal."""
    return Text("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text), style=style)


def warning(text: str) -> Text:
    """What makes a result less sure than it looks, spelled as on standard error."""
    return note(f"warning: {text}", "yellow")

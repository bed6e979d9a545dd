"""The one kind of table that every report is made of."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

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


def printable(text: str) -> str:
    """A text whose signs are shown, and do nothing else."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)

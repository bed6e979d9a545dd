"""Write results: tables to a terminal, plain and complete text to a pipe, JSON, and files whole or not at all."""

import sys
from collections.abc import Callable, Mapping
from copy import copy
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from rich.console import Console, ConsoleDimensions, RenderableType
from rich.table import Table
from rich.text import Text

from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.files import is_device, write_whole
from mnfpn_cli.report.terminal.tables import Forms, Report, fitted, least_width, note

WIDE = 10_000
"""Columns where nothing has to fit a screen."""


Texts = Mapping[str, Callable[[], str]]
"""Other forms of a result, by the name of the format."""


def emit(
    report: Report, document: BaseModel | dict[str, Any], options: OutputOptions, texts: Texts = MappingProxyType({})
) -> None:
    """Write the file that was asked for, and print the result, even where the file cannot be written.

    ``texts``: the forms that a result has besides tables and JSON.

    Raises:
        MnfpnError: where the file cannot be written; what was there before is then still there.
    """
    printed = options.form
    try:
        if options.output is not None:
            write_text(options.output, _in_form(options.file_form, report, document, texts))
    finally:
        if printed == "text":
            print_text(report)
        else:
            sys.stdout.write(_in_form(printed, report, document, texts))


def print_text(report: Report) -> None:
    """Print a report so that it fits a terminal; complete into a pipe."""
    if sys.stdout.isatty():
        console = Console()
        with console.capture() as printed:
            print_report(report, console)
        sys.stdout.write(as_options(printed.get()))  # an option is as long as the parameter in backquotes
    else:
        sys.stdout.write(as_text(report))


def _in_form(form: str, report: Report, document: BaseModel | dict[str, Any], texts: Texts) -> str:
    if form in texts:
        return as_options(texts[form]())
    return to_json(document) if form == "json" else as_text(report)


def warn(line: str) -> None:
    """Tell something that is neither a result nor a reason to fail."""
    write_error(f"warning: {as_options(line)}")


def as_text(report: Report) -> str:
    """The report without colours and lines, every cell complete, parameters as options."""
    buffer = StringIO()
    print_report([_plain(item) for item in report], Console(file=buffer, width=WIDE, color_system=None))
    return as_options("".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines()))


def _plain(item: RenderableType) -> RenderableType:
    """A table in its widest form, without lines, its columns two spaces apart; everything else as it is."""
    if isinstance(item, Forms):
        item = item.tables[0]
    if not isinstance(item, Table):
        return item
    plain = copy(item)
    plain.box, plain.padding, plain.collapse_padding = None, (0, 2, 0, 0), False
    return plain


def print_report(report: Report, console: Console) -> None:
    """Print what fits the screen, with an empty line above each table; only what stays too wide the terminal breaks."""
    for index, item in enumerate(report):
        if not isinstance(item, Table | Forms):
            console.print(item, soft_wrap=isinstance(item, Text) and bool(item.no_wrap))
            continue
        for part in fitted(item, console.width):
            if index or part.title is None:
                console.print()
            _print_table(part, console)


def _print_table(table: Table, console: Console) -> None:
    """Print a table, wider than the screen where it must be: rich would cut digits off."""
    if table.title:
        console.print(note(str(table.title), "bold"))  # within the table it would be broken at the table's width
    table = copy(table)
    table.title = None
    screen = console.size
    # The width alone would not count on a dumb terminal.
    console.size = ConsoleDimensions(max(screen.width, least_width(table)), screen.height)
    console.print(table)
    console.size = screen


def write_text(path: Path, text: str, where: str = "`output`") -> None:
    """Write a file whole or not at all; to a device, as it comes.

    Raises:
        MnfpnError: where it cannot be written.
    """
    write_bytes(path, text.encode(), where)


def write_bytes(path: Path, content: bytes, where: str = "`output`") -> None:
    """The same of what is no text.

    Raises:
        MnfpnError: where it cannot be written.
    """
    if not is_device(path):
        write_whole(path, content, check=lambda _: None, where=where)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise MnfpnError(Problem(where, f"'{path}' could not be written: {error.strerror}")) from error

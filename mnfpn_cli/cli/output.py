"""Writing results: tables to a terminal, plain and complete text to a pipe, JSON, and files whole or not at all."""

import sys
from collections.abc import Callable, Mapping
from copy import copy
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.table import Table

from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.files import is_device, write_whole
from mnfpn_cli.report.document import to_json
from mnfpn_cli.report.tables import Report, keep_short_text_whole, least_width, note

WIDE = 10_000
"""Columns where nothing has to fit a screen."""


Texts = Mapping[str, Callable[[], str]]
"""Other forms of a result, by the name of the format."""


def emit(report: Report, document: dict[str, Any], options: OutputOptions, texts: Texts = MappingProxyType({})) -> None:
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
        if printed == "text" and sys.stdout.isatty():
            _print(report, Console())
        else:
            sys.stdout.write(_in_form(printed, report, document, texts))


def _in_form(form: str, report: Report, document: dict[str, Any], texts: Texts) -> str:
    if form in texts:
        return texts[form]()
    return to_json(document) if form == "json" else as_text(report)


def warn(line: str) -> None:
    """Tell something that is neither a result nor a reason to fail."""
    sys.stderr.write(f"warning: {line}\n")


def as_text(report: Report) -> str:
    """The report without colours and lines, every cell complete."""
    buffer = StringIO()
    _print([_plain(item) for item in report], Console(file=buffer, width=WIDE, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _plain(item: RenderableType) -> RenderableType:
    """A table without lines, its columns two spaces apart; everything else as it is."""
    if not isinstance(item, Table):
        return item
    plain = copy(item)
    plain.box, plain.padding, plain.collapse_padding = None, (0, 2, 0, 0), False
    return plain


def _print(report: Report, console: Console) -> None:
    screen = console.size
    for index, item in enumerate(report):
        width = screen.width
        if isinstance(item, Table):
            keep_short_text_whole(item)
            # A terminal that is narrower than this breaks the lines itself; rich would cut digits off instead.
            width = max(width, least_width(item))
            if index:
                console.print()
            console.print(note(str(item.title), "bold"))  # within the table it would be broken at the table's width
            item = copy(item)
            item.title = None
        console.size = ConsoleDimensions(width, screen.height)  # the width alone would not count on a dumb terminal
        console.print(item)
        console.size = screen


def write_text(path: Path, text: str, option: str = "--output") -> None:
    """Write a file whole or not at all; to a device, as it comes.

    Raises:
        MnfpnError: where it cannot be written.
    """
    write_bytes(path, text.encode(), option)


def write_bytes(path: Path, content: bytes, option: str = "--output") -> None:
    """The same of what is no text.

    Raises:
        MnfpnError: where it cannot be written.
    """
    if not is_device(path):
        write_whole(path, content, check=lambda _: None, option=option)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise MnfpnError(f"{option}: '{path}' could not be written: {error.strerror}") from error

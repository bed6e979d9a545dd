"""Writing results: tables to a terminal, plain and complete text to a pipe, JSON, and files whole or not at all."""

import os
import sys
from collections.abc import Callable, Mapping
from copy import copy
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.table import Table

from mnfpn_cli.cli.interrupts import tidy_when_terminated
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.files import is_device, write_whole
from mnfpn_cli.report.document import to_json
from mnfpn_cli.report.tables import Report, keep_short_text_whole, least_width, note

SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown"}
"""The forms that the name of a file asks for."""

DATABASE = b"SQLite format 3\0"
"""How an SQLite database begins."""

WIDE = 10_000
"""Columns where nothing has to fit a screen."""


def check_output(options: OutputOptions) -> None:
    """Make sure, before any work is done, that the output file can be written.

    Raises:
        UsageError: where it cannot.
    """
    if options.output is not None:
        check_file(options.output, "--output")


def check_file(path: Path, option: str) -> None:
    """Make sure that a file can be written.

    Raises:
        UsageError: where it cannot, naming the option.
    """
    if path == Path("-"):
        raise UsageError(f"{option}: must be a file; the result goes to standard output anyway, got '-'")
    try:
        if is_device(path):
            return
        target = path.resolve() if path.is_symlink() else path
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a link to itself
        raise UsageError(f"{option}: must be a name that a file can have, got '{path}': {error}") from None
    if is_folder:
        raise UsageError(f"{option}: must be a file, but '{path}' is a folder")
    _refuse_database(path, option)
    if not target.parent.is_dir():
        raise UsageError(f"{option}: must be in a folder that exists, but '{target.parent}' is none")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"{option}: must be in a folder that can be written, but '{target.parent}' cannot")


def _refuse_database(path: Path, option: str) -> None:
    """Keep a store from being written over: it holds what took hours to measure.

    Raises:
        UsageError: where the file is an SQLite database.
    """
    try:
        with path.open("rb") as file:
            is_database = file.read(len(DATABASE)) == DATABASE
    except OSError:
        return  # there is none, or what is wrong with it is told when it is written
    if is_database:
        raise UsageError(f"{option}: must not be a store, but '{path}' is an SQLite database")


Texts = Mapping[str, Callable[[], str]]
"""Other forms of a result, by the name of the format."""


def emit(report: Report, document: dict[str, Any], options: OutputOptions, texts: Texts = MappingProxyType({})) -> None:
    """Write the file that was asked for, and print the result, even where the file cannot be written.

    ``texts``: the forms that a result has besides tables and JSON.

    Raises:
        MnfpnError: where the file cannot be written; what was there before is then still there.
    """
    printed = form_of(options)
    try:
        if options.output is not None:
            form = printed if printed != "text" else SUFFIXES.get(options.output.suffix.lower(), "text")
            write_text(options.output, _in_form(form, report, document, texts))
    finally:
        if printed == "text" and sys.stdout.isatty():
            _print(report, Console())
        else:
            sys.stdout.write(_in_form(printed, report, document, texts))


def form_of(options: OutputOptions) -> str:
    """The form in which a result is printed."""
    return "json" if options.json else getattr(options, "format", None) or "text"


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
        _refuse_database(path, option)  # a sweep's own, which was not there when it began
        with tidy_when_terminated():
            write_whole(path, content, check=lambda _: None, option=option)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise MnfpnError(f"{option}: '{path}' could not be written: {error.strerror}") from error

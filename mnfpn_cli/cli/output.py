"""Print results as tables, plain text or JSON, and write them to files."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.cli.talk import tell
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import Document, to_json
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.files import descriptor_of, is_device, write_whole
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.tables import Report
from mnfpn_cli.settings.network import NetworkSettings

Texts = Mapping[str, Callable[[], str]]
"""Other forms of a result, by the name of the format."""


def emit(
    report: Report, document: Document | NetworkSettings, options: OutputOptions, texts: Texts = MappingProxyType({})
) -> None:
    """Write the result to its file, if there is one, and print it, even if the file cannot be written.

    ``texts``: the forms of the result besides tables and JSON.

    Raises:
        MnfpnError: if the file cannot be written; its former content is still there.
    """
    printed = options.form
    tell("the result is ready")
    try:
        if options.output is not None:
            tell(f"writes {options.output}")
            write_text(options.output, _in_form(options.file_form, report, document, texts))
    finally:
        if printed == "text":
            print_text(report)
        else:
            sys.stdout.write(_in_form(printed, report, document, texts))


def print_text(report: Report) -> None:
    """Print a report: fitted to a terminal, or complete and plain to a pipe."""
    if sys.stdout.isatty():
        from rich.console import Console  # slow to import, and not needed for a pipe

        from mnfpn_cli.report.terminal.screen import print_report

        console = Console()
        with console.capture() as printed:
            print_report(report, console)
        sys.stdout.write(as_options(printed.get()))  # an option is as long as the parameter in backquotes
    else:
        sys.stdout.write(as_options(as_text(report)))


def _in_form(form: str, report: Report, document: Document | NetworkSettings, texts: Texts) -> str:
    if form in texts:
        return texts[form]()  # data, whose backquotes are no parameters
    return to_json(document) if form == "json" else as_options(as_text(report))


def warn(line: str) -> None:
    """Write a warning to standard error."""
    write_error(f"warning: {as_options(line)}")


def write_text(path: Path, text: str, where: str = "`output`") -> None:
    """Write text to a file, whole or not at all; to a device, directly.

    Raises:
        MnfpnError: if it cannot be written.
    """
    write_bytes(path, text.encode(), where)


def write_bytes(path: Path, content: bytes, where: str = "`output`") -> None:
    """Write bytes to a file, whole or not at all; to a device, directly.

    Raises:
        MnfpnError: if it cannot be written.
    """
    if not is_device(path):
        write_whole(path, content, where)
        return
    descriptor = descriptor_of(path)
    try:
        if descriptor is None:
            path.write_bytes(content)
        else:
            sys.stdout.flush()  # what was printed before comes before
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                stream.write(content)
    except OSError as error:
        raise MnfpnError(Problem(where, f"'{path}' could not be written: {error.strerror}")) from error

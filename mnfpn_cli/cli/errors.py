"""Lines on standard error: broken at words by a terminal's width, whole in a pipe."""

import os
import shutil
import sys
import textwrap


def write_error(text: str) -> None:
    """Write lines to standard error; what a file or an argument holds can be anything, but must not steer a terminal.

    Raises:
        BrokenPipeError: where nobody reads them.
    """
    from mnfpn_cli.report.tables import printable  # with rich, which takes time to import

    width = _width() if sys.stderr.isatty() else None
    sys.stderr.writelines(f"{part}\n" for line in text.split("\n") for part in _broken(printable(line), width))


def _broken(line: str, width: int | None) -> list[str]:
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return parts or [""]


def _width() -> int:
    """As COLUMNS has it, else as the terminal: standard output, which is asked first, may be a pipe."""
    try:
        own = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        own = os.terminal_size((80, 24))
    return shutil.get_terminal_size(fallback=own).columns

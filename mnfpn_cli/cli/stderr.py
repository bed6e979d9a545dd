"""Write lines to standard error."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap


def write_error(text: str) -> None:
    """Write lines to standard error, folded to the terminal; control characters of files and arguments are escaped.

    Raises:
        BrokenPipeError: if nobody reads them.
    """
    from mnfpn_cli.text import printable

    width = _width() if sys.stderr.isatty() else None
    sys.stderr.writelines(f"{part}\n" for line in text.split("\n") for part in _folded(printable(line), width))


def _folded(line: str, width: int | None) -> list[str]:
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return parts or [""]


def _width() -> int:
    """Return COLUMNS, or else the width of the terminal of standard error: standard output may be a pipe."""
    try:
        terminal = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        terminal = os.terminal_size((80, 24))
    return shutil.get_terminal_size(fallback=terminal).columns

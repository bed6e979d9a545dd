"""Write lines and progress bars to standard error. rich is slow to import, and is imported where it is used."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows a step and the share of it that is done; the bar disappears at the end."""
    if not sys.stderr.isatty():
        yield lambda _doing, _share: None
        return
    from mnfpn_cli.api.progress import rich_bar

    with rich_bar() as progress:
        yield progress

"""Lines and progress on standard error. rich, which takes time to import, is imported where it is used."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import TaskID


def write_error(text: str) -> None:
    """Write lines to standard error; what a file or an argument holds can be anything, but must not steer a terminal.

    Raises:
        BrokenPipeError: where nobody reads them.
    """
    from mnfpn_cli.text import printable

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


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows what is being done and which share of it is; all is gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _doing, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as bars:

        def progress(doing: str, share: float) -> None:
            for other in tasks.keys() - {doing}:
                bars.update(tasks[other], completed=1.0, visible=False)
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=1.0)
            bars.update(tasks[doing], completed=share)

        yield progress

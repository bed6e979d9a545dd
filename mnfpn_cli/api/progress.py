"""The progress of long work: a callback, or a bar of tqdm or rich. Both libraries are imported where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from mnfpn_cli.api.arguments import type_of
from mnfpn_cli.errors import MnfpnError, Problem, UsageError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from mnfpn_cli.text import ReportProgress

Progress = Callable[[str, float], None] | Literal["tqdm", "rich"] | None
"""Is called with what is being done and the share of it that is done, from 0 to 1; or a bar on standard error."""


BARS = ("tqdm", "rich")


@contextmanager
def reporting(progress: Progress) -> Iterator[ReportProgress]:
    """Yield the function that work calls with its progress.

    Raises:
        UsageError: where the argument is neither a function nor the name of a library.
        MnfpnError: where tqdm is not installed.
    """
    _check(progress)
    if progress is None:
        yield lambda _doing, _share: None
    elif progress == "rich":
        with rich_bar() as report:
            yield report
    elif progress == "tqdm":
        with _tqdm_bar() as report:
            yield report
    else:
        yield progress


def _check(progress: object) -> None:
    if progress is None or callable(progress) or (isinstance(progress, str) and progress in BARS):
        return
    got = f"'{progress}'" if isinstance(progress, str) else type_of(progress)
    raise UsageError(Problem("progress", 'must be a function of what and share, "tqdm" or "rich"', got))


@contextmanager
def rich_bar() -> Iterator[ReportProgress]:
    """Yield a function that shows a step and the share of it that is done; the bar disappears at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(doing: str, share: float) -> None:
            for other in tasks.keys() - {doing}:
                bars.update(tasks[other], completed=1.0, visible=False)
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=1.0)
            bars.update(tasks[doing], completed=share)

        yield report


@contextmanager
def _tqdm_bar() -> Iterator[ReportProgress]:
    """Yield the same for a bar of tqdm, which is a widget in a notebook.

    Raises:
        MnfpnError: where tqdm is not installed.
    """
    try:
        tqdm = import_module("tqdm.auto").tqdm
    except ImportError:
        raise MnfpnError(Problem("progress tqdm", "needs tqdm: pip install tqdm")) from None
    with tqdm(total=1.0, leave=False, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}") as bar:

        def report(doing: str, share: float) -> None:
            bar.set_description_str(doing, refresh=False)
            bar.n = share
            bar.refresh()

        yield report

"""How far a sweep is, on standard error while that is a terminal: done, failed, the time left, the best so far."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mnfpn_cli.cli.errors import write_error
from mnfpn_cli.percent import percent
from mnfpn_cli.report.tables import note
from mnfpn_cli.report.units import duration, seconds
from mnfpn_cli.space.names import namer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnfpn_cli.space.cells import Cell
    from mnfpn_cli.store.rows import StoredCell
    from mnfpn_cli.sweep.state import State


@contextmanager
def sweep_bar(cells: Sequence[StoredCell], told: set[str]) -> Iterator[Callable[[State], None]]:
    """Give a function that shows how far the sweep of some cells is; all but warnings is gone at the end.

    ``told``: warnings that are not given again; those that are given are added.
    """
    from mnfpn_cli.sweep.drift import MOVED

    if not sys.stderr.isatty():
        yield partial(_tell_news, told)
        return
    console, name = Console(stderr=True), namer([one.cell for one in cells])
    bar = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*bar, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("measuring", total=len(cells), said="")

        def tell(state: State) -> None:
            for line in _news(state, told):
                bars.console.print(note(f"warning: {line}"), highlight=False, soft_wrap=True)
            best = f"best {_best(state, name)}" if state.best else "measuring"
            moved = f"machine {percent(state.pace - 1, '+.0f')}" if abs(state.pace - 1) > MOVED else ""
            completed = state.total - state.left
            bars.update(
                task, description=best, completed=completed, said=" · ".join(filter(None, [*_said(state), moved]))
            )

        yield tell


def _tell_news(told: set[str], state: State) -> None:
    for line in _news(state, told):
        write_error(f"warning: {line}")


def _news(state: State, told: set[str]) -> list[str]:
    """The warnings that were not given yet; from now on they were."""
    news = [line for line in dict.fromkeys(state.notes) if line not in told]
    told.update(news)
    return news


def _best(state: State, name: Callable[[Cell], str]) -> str:
    best = state.best
    return f"{seconds(best.latency_s)}, {name(best.cell)}" if best and best.latency_s else ""


def _said(state: State) -> list[str]:
    return [
        f"{state.failed} failed" if state.failed else "",
        f"{state.skipped} too slow" if state.skipped else "",
        f"{len(state.not_run)} not run" if state.not_run else "",
        f"{state.others} with another sweep" if state.others else "",
        f"{duration(state.left_s)} left" if state.left_s is not None and state.left else "",
    ]

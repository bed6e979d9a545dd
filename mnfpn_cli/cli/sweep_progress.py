"""Show the progress of a sweep."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.report.units import duration, seconds
from mnfpn_cli.space.runs import run_namer
from mnfpn_cli.text import percent, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnfpn_cli.space.runs import Run
    from mnfpn_cli.store.rows import StoredRun
    from mnfpn_cli.sweep.state import State


@contextmanager
def sweep_bar(runs: Sequence[StoredRun], printed: set[str]) -> Iterator[Callable[[State], None]]:
    """Yield a function that shows the progress of a sweep; the bar disappears at the end, warnings stay.

    ``printed``: the warnings that are printed already; new ones are added.
    """
    from mnfpn_cli.sweep.drift import MOVED

    if not sys.stderr.isatty():
        yield partial(_print_new_warnings, printed)
        return
    console, name = Console(stderr=True), run_namer([one.planned.run for one in runs])
    bar = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
    with Progress(*bar, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("measuring", total=len(runs), status="")

        def update(state: State) -> None:
            for line in _new_warnings(state, printed):
                bars.console.print(Text(printable(f"warning: {as_options(line)}")), highlight=False, soft_wrap=True)
            best = f"best {_best(state, name)}" if state.best else "measuring"
            moved = f"machine {percent(state.drift - 1, '+.0f')}" if abs(state.drift - 1) > MOVED else ""
            completed = state.total - state.left
            status = " · ".join(filter(None, [*_status(state), moved]))
            bars.update(task, description=best, completed=completed, total=state.total, status=status)

        yield update


def _print_new_warnings(printed: set[str], state: State) -> None:
    for line in _new_warnings(state, printed):
        write_error(f"warning: {as_options(line)}")


def _new_warnings(state: State, printed: set[str]) -> list[str]:
    """Return the warnings that are not printed yet, and add them to those that are."""
    new = [line for line in dict.fromkeys(state.notes) if line not in printed]
    printed.update(new)
    return new


def _best(state: State, name: Callable[[Run], str]) -> str:
    best = state.best
    return f"{seconds(best.latency_s)}, {name(best.planned.run)}" if best and best.latency_s else ""


def _status(state: State) -> list[str]:
    return [
        f"{state.failed} failed" if state.failed else "",
        f"{state.skipped} too slow" if state.skipped else "",
        f"{len(state.not_run)} not run" if state.not_run else "",
        f"{state.others} with another sweep" if state.others else "",
        f"{duration(state.left_s)} left" if state.left_s is not None and state.left else "",
    ]

"""Show the progress of a sweep."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.cli.talk import progress_bar, talk
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.report.units import duration, seconds
from mnfpn_cli.space.runs import run_namer
from mnfpn_cli.text import percent, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnfpn_cli.space.runs import Run
    from mnfpn_cli.store.rows import StoredRun
    from mnfpn_cli.sweep.state import State
    from mnfpn_cli.sweep.training import TrainingState


@contextmanager
def sweep_bar(runs: Sequence[StoredRun], printed: set[str]) -> Iterator[Callable[[State], None]]:
    """Yield a function that shows the progress of a sweep; the bar disappears at the end, warnings stay.

    ``printed``: the warnings that are printed already; new ones are added.
    """
    from mnfpn_cli.sweep.drift import MOVED

    name = run_namer([one.planned.run for one in runs])
    if not talk().shows_bars:
        yield _Lines(printed, name).show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True)
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


@dataclass
class _Lines:
    """Shows the progress of a sweep where there is no terminal: a line for each run that ended, and warnings."""

    printed: set[str]
    name: Callable[[Run], str]
    last: StoredRun | None = None

    def show(self, state: State) -> None:
        """Print what is new; with `--quiet`, only warnings."""
        for line in _new_warnings(state, self.printed):
            write_error(f"warning: {as_options(line)}")
        if talk().quiet:
            return
        if state.last and state.last is not self.last:  # runs that are left out as too slow count, but have no line
            ended = state.total - state.left
            left = f", {duration(state.left_s)} left" if state.left_s is not None and state.left else ""
            write_error(f"{ended} of {state.total}: {_ended(state.last, self.name)}{left}")
        self.last = state.last


def _ended(run: StoredRun, name: Callable[[Run], str]) -> str:
    """How a run ended, in a line."""
    how = seconds(run.latency_s) if run.latency_s else "failed"
    return f"{name(run.planned.run)}: {how}"


@contextmanager
def training_bar() -> Iterator[Callable[[TrainingState], None]]:
    """Yield a function that shows the progress of trainings: a bar, or a line for each where there is no terminal.

    Warnings are always printed.
    """
    printed, ended = 0, 0

    def warn(state: TrainingState) -> None:
        nonlocal printed
        for line in state.notes[printed:]:
            write_error(f"warning: {as_options(line)}")
        printed = len(state.notes)

    def show(state: TrainingState) -> None:
        nonlocal ended
        warn(state)
        now = state.done + state.failed
        if state.last and now > ended and not talk().quiet:
            write_error(f"trained {now} of {state.total}: {state.last}{_failed(state)}")
        ended = now

    if not talk().shows_bars:
        yield show
        return
    with progress_bar() as progress:

        def draw(state: TrainingState) -> None:
            warn(state)
            now = state.done + state.failed
            doing = f"training {min(now + 1, state.total)} of {state.total}{_failed(state)}"
            progress(doing, now / max(1, state.total))

        yield draw


def _failed(state: TrainingState) -> str:
    return f", {state.failed} failed" if state.failed else ""


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

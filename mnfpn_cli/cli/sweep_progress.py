"""Show a sweep: its space and expected time, its progress, its result."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
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

    from mnfpn_cli.cli.options import OutputOptions
    from mnfpn_cli.cli.sweep_options import SweepOptions
    from mnfpn_cli.documents.sweep import MeasuringRecord
    from mnfpn_cli.settings.measuring import Sampling
    from mnfpn_cli.space.runs import Run
    from mnfpn_cli.store.rows import StoredRun, Sweep
    from mnfpn_cli.store.store import Store
    from mnfpn_cli.sweep.start import Chosen, Expected
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
            bars.update(task, description=best, completed=completed, status=status)

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


ON_RAY = "Ray, "
"""The first words of the machine of runs on a cluster."""


def machine_of(options: SweepOptions) -> str:
    """Return the kind of machine that measures the runs."""
    from mnfpn_cli.sweep.start import this_machine

    if options.ray is not None:
        return f"{ON_RAY}{options.accelerator or 'any machine'}"
    return this_machine()


def expected_time(
    store: str | None, chosen: Chosen, measuring: MeasuringRecord, sampling: Sampling, options: SweepOptions
) -> Expected:
    """Estimate how long a sweep takes, without writing to the store.

    Raises:
        MnfpnError: if the store cannot be read.
    """
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.start import expect

    machine = machine_of(options)
    if store is None or ("://" not in store and not Path(store).exists()):
        return expect(chosen, measuring, sampling, machine, None, options.repeats())
    with open_store(store) as opened:
        return expect(chosen, measuring, sampling, machine, opened, options.repeats())


def show_space(chosen: Chosen, expected: Expected | None, output: OutputOptions) -> None:
    """Print the runs of a space, and which of them would be measured."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.sweep import space_report
    from mnfpn_cli.space.frontier import planned_frontier
    from mnfpn_cli.sweep.start import space_document

    frontier = planned_frontier(chosen.space.runs)
    emit(space_report(chosen, frontier, expected), space_document(chosen, frontier, expected), output)


def show_result(store: Store, ran: Sequence[Sweep], states: Sequence[State], output: OutputOptions) -> list[str]:
    """Print the result of sweeps; return the failures, one a line.

    ``ran``: the sweeps; ``states``: the final states of those that were measured now.
    """
    from mnfpn_cli.cli.command_lines import after_sweep
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.sweep import result_warnings, swept_report
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
    from mnfpn_cli.sweep.reuse import reused_by_any
    from mnfpn_cli.sweep.state import Swept, failures, swept_document

    known, by_sweep = {one.id: one for one in read_sweeps(store)}, {one.id: read_runs(store, one.id) for one in ran}
    runs = {one.key: one for some in by_sweep.values() for one in some}
    swept = Swept(
        store.argument,
        tuple(ran),
        tuple(runs.values()),
        tuple(one for one in read_baselines(store) if one.sweep in by_sweep),
        tuple(dict.fromkeys(note for one in states for note in one.notes)),
        sum(one.skipped for one in states),
        tuple({left_out.run.key: left_out for one in states for left_out in one.not_run}.values()),
        tuple(reused_by_any(ran, by_sweep, known)),
    )
    emit(swept_report(swept, after_sweep(swept.store)), swept_document(swept, result_warnings(swept)), output)
    # If a sweep asked for all runtimes, one that cannot run here is not a failure.
    by_name = [state for state in states if not known[state.sweep].plan.space.all_runtimes]
    not_run = {left_out.run.key: left_out for state in by_name for left_out in state.not_run}
    return failures(swept.runs, list(not_run.values()))

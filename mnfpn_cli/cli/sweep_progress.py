"""What a sweep is to do, how far it is, and what came of it, printed."""

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
from mnfpn_cli.space.runs import namer
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
def sweep_bar(runs: Sequence[StoredRun], told: set[str]) -> Iterator[Callable[[State], None]]:
    """Give a function that shows how far the sweep of some runs is; all but warnings is gone at the end.

    ``told``: warnings that are not given again; those that are given are added.
    """
    from mnfpn_cli.sweep.drift import MOVED

    if not sys.stderr.isatty():
        yield partial(_tell_news, told)
        return
    console, name = Console(stderr=True), namer([one.run for one in runs])
    bar = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*bar, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("measuring", total=len(runs), said="")

        def tell(state: State) -> None:
            for line in _news(state, told):
                bars.console.print(Text(printable(f"warning: {as_options(line)}")), highlight=False, soft_wrap=True)
            best = f"best {_best(state, name)}" if state.best else "measuring"
            moved = f"machine {percent(state.drift - 1, '+.0f')}" if abs(state.drift - 1) > MOVED else ""
            completed = state.total - state.left
            bars.update(
                task, description=best, completed=completed, said=" · ".join(filter(None, [*_said(state), moved]))
            )

        yield tell


def _tell_news(told: set[str], state: State) -> None:
    for line in _news(state, told):
        write_error(f"warning: {as_options(line)}")


def _news(state: State, told: set[str]) -> list[str]:
    """The warnings that were not given yet; from now on they were."""
    news = [line for line in dict.fromkeys(state.notes) if line not in told]
    told.update(news)
    return news


def _best(state: State, name: Callable[[Run], str]) -> str:
    best = state.best
    return f"{seconds(best.latency_s)}, {name(best.run)}" if best and best.latency_s else ""


def _said(state: State) -> list[str]:
    return [
        f"{state.failed} failed" if state.failed else "",
        f"{state.skipped} too slow" if state.skipped else "",
        f"{len(state.not_run)} not run" if state.not_run else "",
        f"{state.others} with another sweep" if state.others else "",
        f"{duration(state.left_s)} left" if state.left_s is not None and state.left else "",
    ]


ON_RAY = "Ray, "
"""How the machine of a cluster's runs begins."""


def machine_of(options: SweepOptions) -> str:
    """The kind of machine that runs are for."""
    from mnfpn_cli.sweep.start import this_machine

    if options.ray is not None:
        return f"{ON_RAY}{options.accelerator or 'any machine'}"
    return this_machine()


def expect_of(
    store: str | None, chosen: Chosen, measuring: MeasuringRecord, sampling: Sampling, options: SweepOptions
) -> Expected:
    """How long a sweep may take; nothing is written.

    Raises:
        MnfpnError: where there is a store, and it cannot be read.
    """
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.start import expect

    machine = machine_of(options)
    if store is None or ("://" not in store and not Path(store).exists()):
        return expect(chosen, measuring, sampling, machine, None, options.measured_again())
    with open_store(store) as opened:
        return expect(chosen, measuring, sampling, machine, opened, options.measured_again())


def show(chosen: Chosen, expected: Expected | None, output: OutputOptions) -> None:
    """Print what a space holds, and what of it would be measured."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.sweep import space_report
    from mnfpn_cli.space.frontier import planned_frontier
    from mnfpn_cli.sweep.start import space_document

    frontier = planned_frontier(chosen.space.runs)
    emit(space_report(chosen, frontier, expected), space_document(chosen, frontier, expected), output)


def show_swept(store: Store, ran: Sequence[Sweep], states: Sequence[State], output: OutputOptions) -> list[str]:
    """Print how many runs are measured, what failed, and what to do next; return what could not be done, in lines.

    ``ran``: the sweeps; ``states``: how far they came this time, those that were measured.
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.sweep import doubts_of, swept_report
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import baselines, sweeps
    from mnfpn_cli.sweep.start import reused_by_any
    from mnfpn_cli.sweep.state import Swept, failures, swept_document

    known, by_sweep = {one.id: one for one in sweeps(store)}, {one.id: read_runs(store, one.id) for one in ran}
    runs = {one.key: one for some in by_sweep.values() for one in some}
    swept = Swept(
        store.argument,
        tuple(ran),
        tuple(runs.values()),
        tuple(one for one in baselines(store) if one.sweep in by_sweep),
        tuple(dict.fromkeys(note for one in states for note in one.notes)),
        sum(one.skipped for one in states),
        tuple({left_out.run.key: left_out for one in states for left_out in one.not_run}.values()),
        tuple(reused_by_any(ran, by_sweep, known)),
    )
    emit(swept_report(swept), swept_document(swept, doubts_of(swept)), output)
    # Of a sweep that asked for whatever runtimes there are, one that cannot run is no failure.
    asked = [state for state in states if not known[state.sweep].plan.space.all_runtimes]
    named = [one for state in asked for one in state.not_run]
    return failures(swept.runs, list({one.run.key: one for one in named}.values()))

"""A sweep at the prompt: begun or gone on with, its progress shown, what came of it printed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.sweep_options import HowOptions
from mnfpn_cli.errors import INTERRUPTED, MnfpnError

if TYPE_CHECKING:
    from mnfpn_cli.settings.measuring import Sampling
    from mnfpn_cli.store.rows import StoredCell, Sweep
    from mnfpn_cli.store.store import Store
    from mnfpn_cli.sweep.expected import Expected
    from mnfpn_cli.sweep.pool import Pool
    from mnfpn_cli.sweep.run import How
    from mnfpn_cli.sweep.start import Chosen


class SweepInterruptedError(MnfpnError):
    """A signal ended a sweep between two cells."""

    exit_code = INTERRUPTED


def measure(name: str, chosen: "Chosen", how: "How", options: HowOptions, output: OutputOptions) -> None:
    """Put a sweep down in a store, and measure it.

    Raises:
        MnfpnError: where the store or the machines fail; what was measured by then is kept.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.start import begin

    with open_store(name, create=True) as store:
        if options.measure == "none":
            chosen = replace(chosen, cells=chosen.space.cells)
        sweep = begin(store, chosen, how, _place(options), options.again)
        if options.measure == "none":
            show(replace(chosen, cells=()), None, output)
            warn(f"all {len(chosen.cells):,} cells are put down; to measure them: {_resume(store)}")
            return
        _run(store, [sweep], options, output)


def expect_of(store: str | None, chosen: "Chosen", how: "How", sampling: "Sampling", options: HowOptions) -> "Expected":
    """How long a sweep may take; nothing is written.

    Raises:
        MnfpnError: where there is a store, and it cannot be read.
    """
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.expected import expect

    place = _place(options)
    if store is None or ("://" not in store and not Path(store).exists()):
        return expect(chosen, how, sampling, place, None)
    with open_store(store) as opened:
        return expect(chosen, how, sampling, place, opened)


def show(chosen: "Chosen", expected: "Expected | None", output: OutputOptions) -> None:
    """Print what a space holds, and what of it would be measured."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.document import network_document
    from mnfpn_cli.report.sweep import space_document, space_report
    from mnfpn_cli.space.frontier import planned_frontier

    frontier = planned_frontier(chosen.space.cells)
    body = space_document(chosen, frontier, expected)
    emit(space_report(chosen, frontier, expected), network_document("sweep", None, None, body), output)


def go_on(name: str, options: HowOptions, output: OutputOptions) -> None:
    """Measure what the sweeps of a store have left.

    Raises:
        MnfpnError: as `measure`; or where what is left is for another kind of machine.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.change import try_again
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.start import unfinished

    with open_store(name) as store:
        if options.retry_failed:
            try_again(store)
        left = unfinished(store)
        place = _place(options) if left else ""
        here = [one for one in left if one.place == place]
        for one in left:
            if one.place != place:
                warn(f"sweep {one.id} is for {one.place}, this is {place}: its {one.counts['pending']} cells stay")
        if not here and left:
            raise MnfpnError("--resume: no cell that is left is for this kind of machine")
        _run(store, [one.id for one in here], options, output)


def _place(options: HowOptions) -> str:
    """The kind of machine that cells are for."""
    from mnfpn_cli.sweep.start import this_machine

    if options.ray is not None:
        return f"Ray, {options.accelerator or 'any machine'}"
    return this_machine()


def _run(store: "Store", numbers: Sequence[int], options: HowOptions, output: OutputOptions) -> None:
    """Measure sweeps one after the other, and print what came of them."""
    from mnfpn_cli.cli.sweep_progress import sweep_bar
    from mnfpn_cli.store.read import read_cells
    from mnfpn_cli.store.sweeps import sweeps
    from mnfpn_cli.sweep.run import SweepRun
    from mnfpn_cli.sweep.start import how_of

    known = {one.id: one for one in sweeps(store)}
    notes = list[str]()
    with stopping() as stopped:
        for number in numbers:
            cells = read_cells(store, number)
            with _pool(cells, options) as pool, sweep_bar(cells) as tell:
                run = SweepRun(store, number, pool, how_of(known[number].plan), stopped, tell)
                notes += run.run().notes
            if stopped():
                break
    _print(store, [known[number] for number in numbers], notes, output)
    if stopped():
        left = sum(one.counts.get("pending", 0) for one in sweeps(store) if one.id in numbers)
        raise SweepInterruptedError(f"interrupted: {left} cells are left; go on with them by: {_resume(store)}")


def _resume(store: "Store") -> str:
    return f"mnfpn sweep --resume --store {store.argument}"


@contextmanager
def _pool(cells: "Sequence[StoredCell]", options: HowOptions) -> "Iterator[Pool]":
    """What measures: this machine, or those of a cluster."""
    import socket

    from mnfpn_cli.sweep.pool import Lane, LocalPool

    if options.ray is None:
        node = socket.gethostname()
        yield LocalPool(Lane(node, node))
        return
    from mnfpn_cli.sweep.ray_pool import ray_pool

    devices = {one.cell.execution.device.partition(":")[0] for one in cells if one.status == "pending"}
    with ray_pool(options.ray, devices, options.accelerator) as pool:
        yield pool


def _print(store: "Store", ran: "Sequence[Sweep]", notes: Sequence[str], output: OutputOptions) -> None:
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.document import network_document
    from mnfpn_cli.report.swept import Swept, swept_document, swept_report
    from mnfpn_cli.store.read import read_cells
    from mnfpn_cli.store.sweeps import references

    cells = {one.key: one for sweep in ran for one in read_cells(store, sweep.id)}
    taken = [one for one in references(store) if one.sweep in {sweep.id for sweep in ran}]
    swept = Swept(store.argument, tuple(ran), tuple(cells.values()), tuple(taken), tuple(notes))
    emit(swept_report(swept), network_document("sweep", None, None, swept_document(swept)), output)

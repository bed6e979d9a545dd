"""A sweep at the prompt: begun, or gone on with."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.sweep_options import HowOptions
from mnfpn_cli.cli.sweep_shown import ON_RAY, place_of, show, show_swept
from mnfpn_cli.errors import INTERRUPTED, MnfpnError

if TYPE_CHECKING:
    from mnfpn_cli.space.cells import Cell
    from mnfpn_cli.store.store import Store
    from mnfpn_cli.sweep.how import How
    from mnfpn_cli.sweep.pool import Pool
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
        if not chosen.space.cells:
            raise MnfpnError(f"no cell is within the budget: {sum(chosen.space.cut.values()):,} are beyond it")
        if options.measure == "none":
            chosen = replace(chosen, cells=chosen.space.cells)
            begin(store, chosen, how, place_of(options), options.measured_again())
            show(replace(chosen, cells=()), None, output)
            warn(f"{len(chosen.cells):,} to measure later, all put down: {_resume(store)}")
            return
        with _machines(options, [one.cell for one in chosen.cells]) as pool:  # before a sweep is there to go on with
            sweep = begin(store, chosen, how, place_of(options), options.measured_again())
            _run(store, [sweep], pool, options, output)


def go_on(name: str, options: HowOptions, output: OutputOptions) -> None:
    """Measure what the sweeps of a store have left.

    Raises:
        MnfpnError: as `measure`; or where what is left is for another kind of machine.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.change import try_again
    from mnfpn_cli.store.read import read_cells
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import sweeps
    from mnfpn_cli.sweep.start import unfinished

    with open_store(name) as store:
        place = place_of(options)
        for one in sweeps(store) if options.retry_failed else ():
            if one.place == place:
                try_again(store, one.id)
        left = unfinished(store)
        if not left:
            _nothing_left(store, output)
            return
        here = [one for one in left if one.place == place]
        for one in left:
            if one.place != place:
                hint = " (--ray ADDRESS goes on with it)" * (one.place.startswith(ON_RAY) and options.ray is None)
                stay = f"its {one.counts['pending']} cells stay{hint}"
                warn(f"sweep {one.id} is for {one.place}, this is {place}: {stay}")
        if not here:
            raise MnfpnError("--resume: no cell that is left is for this kind of machine")
        cells = [one.cell for sweep in here for one in read_cells(store, sweep.id, "pending")]
        with _machines(options, cells) as pool:
            _run(store, [one.id for one in here], pool, options, output)


def _nothing_left(store: "Store", output: OutputOptions) -> None:
    """Say how many cells are measured, and what can still be done.

    Raises:
        MnfpnError: where some failed.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.read import read_cells
    from mnfpn_cli.store.sweeps import sweeps

    counts = Counter(one.status for one in read_cells(store))
    more = f"; {counts['failed']} failed: --retry-failed tries them again" if counts["failed"] else ""
    warn(f"nothing is left: {counts['done']} cells of {store.name} are measured{more}")
    failed = show_swept(store, sweeps(store), (), output)
    if failed:
        raise MnfpnError("\n".join(failed))


def _run(store: "Store", numbers: Sequence[int], pool: "Pool", options: HowOptions, output: OutputOptions) -> None:
    """Measure sweeps one after the other, and print what came of them.

    The newest comes first: what several have left is measured as it was asked for last.

    Raises:
        MnfpnError: where cells failed, or none was measured.
    """
    from mnfpn_cli.cli.sweep_progress import sweep_bar
    from mnfpn_cli.store.read import read_cells
    from mnfpn_cli.store.sweeps import sweeps
    from mnfpn_cli.sweep.run import SweepRun
    from mnfpn_cli.sweep.start import how_of
    from mnfpn_cli.sweep.state import State

    known = {one.id: one for one in sweeps(store)}
    states, told = list[State](), set[str]()
    with stopping() as stopped:
        for number in sorted(numbers, reverse=True):
            cells, how = read_cells(store, number), options.going_on(how_of(known[number].plan))
            with sweep_bar(cells, told) as tell:
                states.append(SweepRun(store, number, pool, how, stopped, tell).run())
            if stopped():
                break
    ran = [one for one in sweeps(store) if one.id in numbers]
    failed = show_swept(store, ran, states, output)
    if stopped():
        left = sum(one.counts.get("pending", 0) for one in ran)
        raise SweepInterruptedError(f"interrupted: {left} cells are left; go on with them by: {_resume(store)}")
    if not any(one.skipped for one in states) and not any(one.counts.get("done") for one in ran):
        failed = ["no cell was measured", *failed]
    if failed:
        raise MnfpnError("\n".join(failed))


def _resume(store: "Store") -> str:
    return f"mnfpn sweep --resume --store {store.argument}"


@contextmanager
def _machines(options: HowOptions, cells: "Sequence[Cell]") -> "Iterator[Pool]":
    """What measures: this machine, or those of a cluster.

    Raises:
        MnfpnError: where there is no such cluster, or none of its machines can measure the cells.
    """
    if options.ray is None:
        from mnfpn_cli.sweep.pool import local_pool

        with local_pool() as local:
            yield local
        return
    from mnfpn_cli.sweep.ray_pool import ray_pool

    with ray_pool(options.ray, {one.execution.device for one in cells}, options.accelerator) as pool:
        yield pool

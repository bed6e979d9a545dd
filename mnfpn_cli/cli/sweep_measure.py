"""A sweep at the prompt: begun, or gone on with."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.sweep_options import SweepOptions
from mnfpn_cli.cli.sweep_progress import ON_RAY, machine_of, show, show_swept
from mnfpn_cli.errors import INTERRUPTED, MnfpnError
from mnfpn_cli.report.units import counted

if TYPE_CHECKING:
    from mnfpn_cli.documents.sweep import MeasuringRecord
    from mnfpn_cli.space.runs import Run
    from mnfpn_cli.store.rows import Status
    from mnfpn_cli.store.store import Store
    from mnfpn_cli.sweep.pool import Pool
    from mnfpn_cli.sweep.start import Chosen


class SweepInterruptedError(MnfpnError):
    """A signal ended a sweep between two runs."""

    exit_code = INTERRUPTED


def measure(
    name: str, chosen: "Chosen", measuring: "MeasuringRecord", options: SweepOptions, output: OutputOptions
) -> None:
    """Put a sweep down in a store, and measure it.

    Raises:
        MnfpnError: where the store or the machines fail; what was measured by then is kept.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.start import begin

    with open_store(name, create=True) as store:
        if not chosen.space.runs:
            raise MnfpnError(f"no run is within the budget: {sum(chosen.space.cut.values()):,} are beyond it")
        if options.measure == "none":
            chosen = replace(chosen, runs=chosen.space.runs)
            sweep = begin(store, chosen, measuring, machine_of(options), options.measured_again())
            show(replace(chosen, runs=()), None, output)
            counts = Counter(one.status for one in read_runs(store, sweep))
            later = f"{counted(counts['pending'], 'run')} to measure later: {_resume(store)}"
            warn(later if counts["pending"] else _nothing_left(store, counts))
            return
        with _machines(options, [one.run for one in chosen.runs]) as pool:  # before a sweep is there to go on with
            sweep = begin(store, chosen, measuring, machine_of(options), options.measured_again())
            _run(store, [sweep], pool, options, output)


def go_on(name: str, options: SweepOptions, output: OutputOptions) -> None:
    """Measure what the sweeps of a store have left.

    Raises:
        MnfpnError: as `measure`; or where what is left is for another kind of machine.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.change import try_again
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import sweeps
    from mnfpn_cli.sweep.start import unfinished

    with open_store(name) as store:
        machine = machine_of(options)
        for one in sweeps(store) if options.retry_failed else ():
            if one.machine == machine:
                try_again(store, one.id)
        left = unfinished(store)
        if not left:
            _finished(store, output)
            return
        here = [one for one in left if one.machine == machine]
        for one in left:
            if one.machine != machine:
                hint = " (--ray ADDRESS goes on with it)" * (one.machine.startswith(ON_RAY) and options.ray is None)
                left_there = f"{counted(one.counts.pending, 'run')} of it left{hint}"
                warn(f"sweep {one.id} is for {one.machine}, this is {machine}: {left_there}")
        if not here:
            raise MnfpnError("--resume: no run that is left is for this kind of machine")
        runs = [one.run for sweep in here for one in read_runs(store, sweep.id, "pending")]
        with _machines(options, runs) as pool:
            _run(store, [one.id for one in here], pool, options, output)


def _nothing_left(store: "Store", counts: "Counter[Status]") -> str:
    """How many runs are measured, and what can still be done."""
    parts = [f"{counted(counts['done'], 'run')} measured"] if counts["done"] else []
    parts += [f"{counted(counts['failed'], 'run')} failed (--retry-failed tries again)"] if counts["failed"] else []
    return f"nothing to resume in {store.name}: {', '.join(parts) or 'it has no runs'}"


def _finished(store: "Store", output: OutputOptions) -> None:
    """Show what came of sweeps that have nothing left.

    Raises:
        MnfpnError: where some failed.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import sweeps

    warn(_nothing_left(store, Counter(one.status for one in read_runs(store))))
    failed = show_swept(store, sweeps(store), (), output)
    if failed:
        raise MnfpnError("\n".join(failed))


def _run(store: "Store", numbers: Sequence[int], pool: "Pool", options: SweepOptions, output: OutputOptions) -> None:
    """Measure sweeps one after the other, and print what came of them.

    The newest comes first: what several have left is measured as it was asked for last.

    Raises:
        MnfpnError: where runs failed, or none was measured.
    """
    from mnfpn_cli.cli.sweep_progress import sweep_bar
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import sweeps
    from mnfpn_cli.sweep.state import State
    from mnfpn_cli.sweep.sweep import SweepRun

    known = {one.id: one for one in sweeps(store)}
    states, told = list[State](), set[str]()
    with stopping() as stopped:
        for number in sorted(numbers, reverse=True):
            runs, measuring = read_runs(store, number), options.going_on(known[number].plan.measuring)
            with sweep_bar(runs, told) as tell:
                states.append(SweepRun(store, number, pool, measuring, stopped, tell).run())
            if stopped():
                break
    ran = [one for one in sweeps(store) if one.id in numbers]
    failed = show_swept(store, ran, states, output)
    if stopped():
        left = sum(one.counts.pending for one in ran)
        raise SweepInterruptedError(f"interrupted: {counted(left, 'run')} left; go on by: {_resume(store)}")
    if not any(one.skipped for one in states) and not any(one.counts.done for one in ran):
        failed = ["no run was measured", *failed]
    if failed:
        raise MnfpnError("\n".join(failed))


def _resume(store: "Store") -> str:
    return f"mnfpn sweep --resume --store {store.argument}"


@contextmanager
def _machines(options: SweepOptions, runs: "Sequence[Run]") -> "Iterator[Pool]":
    """What measures: this machine, or those of a cluster.

    Raises:
        MnfpnError: where there is no such cluster, or none of its machines can measure the runs.
    """
    if options.ray is None:
        from mnfpn_cli.sweep.pool import local_pool

        with local_pool() as local:
            yield local
        return
    from mnfpn_cli.sweep.ray.pool import ray_pool

    with ray_pool(options.ray, {one.execution.device for one in runs}, options.accelerator) as pool:
        yield pool

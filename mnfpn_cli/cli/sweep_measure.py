"""Run a new sweep, or resume the sweeps of a store, and show the result."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.sweep_options import SweepOptions
from mnfpn_cli.cli.sweep_progress import ON_RAY, machine_of, show_result, show_space
from mnfpn_cli.errors import INTERRUPTED, MnfpnError
from mnfpn_cli.report.units import counted

if TYPE_CHECKING:
    from mnfpn_cli.documents.sweep import MeasuringRecord
    from mnfpn_cli.space.runs import Run
    from mnfpn_cli.store.rows import RunStatus
    from mnfpn_cli.store.store import Store
    from mnfpn_cli.sweep.pool import Pool
    from mnfpn_cli.sweep.start import Chosen


class SweepInterruptedError(MnfpnError):
    """A signal ended a sweep between two runs."""

    exit_code = INTERRUPTED


def run_sweep(
    name: str, chosen: "Chosen", measuring: "MeasuringRecord", options: SweepOptions, output: OutputOptions
) -> None:
    """Insert a sweep into a store, and measure it, unless ``--measure none`` only inserts its runs.

    Raises:
        MnfpnError: if the store or the machines fail; the results so far are in the store.
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
            sweep = begin(store, chosen, measuring, machine_of(options), options.repeats())
            show_space(replace(chosen, runs=()), None, output)
            counts = Counter(one.status for one in read_runs(store, sweep))
            later = f"{counted(counts['pending'], 'run')} to measure later: {_resume_command(store)}"
            warn(later if counts["pending"] else _nothing_left(store, counts))
            return
        with _pool(options, [one.run for one in chosen.runs]) as pool:  # may fail, before there is a sweep to resume
            sweep = begin(store, chosen, measuring, machine_of(options), options.repeats())
            _run_sweeps(store, [sweep], pool, options, output)


def resume_sweeps(name: str, options: SweepOptions, output: OutputOptions) -> None:
    """Measure the pending runs of the sweeps of a store.

    Raises:
        MnfpnError: as `run_sweep`; or if all pending runs are for another kind of machine.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.change import retry_failed
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import read_sweeps
    from mnfpn_cli.sweep.start import unfinished

    with open_store(name) as store:
        machine = machine_of(options)
        for one in read_sweeps(store) if options.retry_failed else ():
            if one.machine == machine:
                retry_failed(store, one.id)
        left = unfinished(store)
        if not left:
            _show_finished(store, output)
            return
        here = [one for one in left if one.machine == machine]
        for one in left:
            if one.machine != machine:
                hint = " (resume it with --ray ADDRESS)" * (one.machine.startswith(ON_RAY) and options.ray is None)
                pending = f"{counted(one.counts.pending, 'run')} of it left{hint}"
                warn(f"sweep {one.id} is for {one.machine}, this is {machine}: {pending}")
        if not here:
            raise MnfpnError("--resume: all runs that are left are for other kinds of machines")
        runs = [one.planned.run for sweep in here for one in read_runs(store, sweep.id, "pending")]
        with _pool(options, runs) as pool:
            _run_sweeps(store, [one.id for one in here], pool, options, output)


def _nothing_left(store: "Store", counts: "Counter[RunStatus]") -> str:
    """Say that nothing is pending, and how many runs are measured or failed."""
    parts = [f"{counted(counts['done'], 'run')} measured"] if counts["done"] else []
    parts += [f"{counted(counts['failed'], 'run')} failed (--retry-failed tries again)"] if counts["failed"] else []
    return f"nothing to resume in {store.name}: {', '.join(parts) or 'it has no runs'}"


def _show_finished(store: "Store", output: OutputOptions) -> None:
    """Show the results of sweeps without pending runs.

    Raises:
        MnfpnError: if runs failed.
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import read_sweeps

    warn(_nothing_left(store, Counter(one.status for one in read_runs(store))))
    failed = show_result(store, read_sweeps(store), (), output)
    if failed:
        raise MnfpnError("\n".join(failed))


def _run_sweeps(
    store: "Store", numbers: Sequence[int], pool: "Pool", options: SweepOptions, output: OutputOptions
) -> None:
    """Measure sweeps one after the other, and print their results.

    The newest sweep comes first: a run that several share is measured with the newest sweep's settings.

    Raises:
        MnfpnError: if runs failed, or none was measured.
    """
    from mnfpn_cli.cli.sweep_progress import sweep_bar
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.sweeps import read_sweeps
    from mnfpn_cli.sweep.state import State
    from mnfpn_cli.sweep.sweep import Sweeper

    known = {one.id: one for one in read_sweeps(store)}
    states, printed = list[State](), set[str]()
    with stopping() as stopped:
        for number in sorted(numbers, reverse=True):
            runs, measuring = read_runs(store, number), options.override(known[number].plan.measuring)
            with sweep_bar(runs, printed) as progress:
                states.append(Sweeper(store, number, pool, measuring, stopped, progress).run())
            if stopped():
                break
    ran = [one for one in read_sweeps(store) if one.id in numbers]
    failed = show_result(store, ran, states, output)
    if stopped():
        left = sum(one.counts.pending for one in ran)
        raise SweepInterruptedError(f"interrupted: {counted(left, 'run')} left; resume with: {_resume_command(store)}")
    if not any(one.skipped for one in states) and not any(one.counts.done for one in ran):
        failed = ["no run was measured", *failed]
    if failed:
        raise MnfpnError("\n".join(failed))


def _resume_command(store: "Store") -> str:
    return f"mnfpn sweep --resume --store {store.argument}"


@contextmanager
def _pool(options: SweepOptions, runs: "Sequence[Run]") -> "Iterator[Pool]":
    """Yield the workers that measure: of this machine, or of a Ray cluster.

    Raises:
        MnfpnError: if the cluster cannot be reached, or none of its machines can measure the runs.
    """
    if options.ray is None:
        from mnfpn_cli.sweep.pool import local_pool

        with local_pool() as local:
            yield local
        return
    from mnfpn_cli.sweep.ray.pool import ray_pool

    with ray_pool(options.ray, {one.execution.device for one in runs}, options.accelerator) as pool:
        yield pool

"""Run a new sweep, or resume the sweeps of a store: the steps from a space to a result."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import LatencyModelRecord
from mnfpn_cli.documents.sweep import ExpectedRecord, MeasuringRecord
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.space.axes import Space
from mnfpn_cli.space.frontier import choose
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.store.change import retry_failed
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import RunStatus, StoredRun, Sweep
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import read_sweeps
from mnfpn_cli.sweep.case import ON_RAY, SweepCase, Workers
from mnfpn_cli.sweep.command import check_command
from mnfpn_cli.sweep.command_lines import resuming
from mnfpn_cli.sweep.pool import Pool
from mnfpn_cli.sweep.start import Chosen, begin, expect, unfinished
from mnfpn_cli.sweep.state import State, Swept, failures, read_swept, training_failures
from mnfpn_cli.sweep.sweep import Sweeper
from mnfpn_cli.sweep.training import Trainer, TrainingState, retry_trainings
from mnfpn_cli.text import ReportProgress, counted

if TYPE_CHECKING:
    from mnfpn_cli.sweep.teaching import Teacher

WORTH_A_CLUSTER = 100_000
"""The number of runs from which a cluster plans them: fewer are planned faster here."""

SweepBar = Callable[[Sequence[StoredRun]], AbstractContextManager[Callable[[State], None]]]
"""Shows the progress of a sweep of these runs: within the context, it is called with each state."""


TrainingBar = Callable[[], AbstractContextManager[Callable[[TrainingState], None]]]


@dataclass(frozen=True, slots=True)
class SweepCallbacks:
    """What is called while sweeps are measured.

    Attributes:
        bar: shows the progress of each sweep.
        stopping: gives, while the sweeps are measured, a function that is polled between measurements; they end when it
            returns true.
        note: is called with each warning before something is measured.
        training: shows the progress of trainings: within the context, its function is called with each state.
    """

    bar: SweepBar = lambda _runs: nullcontext(lambda _state: None)
    stopping: Callable[[], AbstractContextManager[Callable[[], bool]]] = lambda: nullcontext(lambda: False)
    note: Callable[[str], None] = lambda _line: None
    training: TrainingBar = lambda: nullcontext(lambda _state: None)


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What one call measured.

    Attributes:
        result: what the store has of the sweeps now.
        failures: a line for each reason why runs failed or could not be run.
        stopped: whether it was stopped before the end.
        left: the number of runs that are still pending.
        to_train: the number of measured networks that are still to be trained.
        resume: the command that measures them.
    """

    result: Swept
    failures: tuple[str, ...]
    stopped: bool
    left: int
    to_train: int
    resume: str


def plan_sweep(space: Space, budget: Budget, case: SweepCase, command: str, progress: ReportProgress) -> Chosen:
    """Plan a space, and choose the runs to measure.

    Args:
        space: every run that could be measured.
        budget: the limits of a run.
        case: which of the runs within the budget to measure.
        command: what starts the sweep, for its record.
        progress: is called with what is being done.

    Raises:
        UsageError: where no run is valid, or the command cannot train these networks.
        MnfpnError: where the cluster fails.
    """
    if case.ray is not None and space.count >= WORTH_A_CLUSTER:
        from mnfpn_cli.sweep.ray.plan import plan_on

        planned = plan_on(case.ray, space, budget, progress)
    else:
        planned = plan_space(space, budget, progress)
    if planned.invalid and not planned.runs and not planned.cut:
        raise UsageError("\n".join(planned.invalid))
    chosen, scoring = choose(planned.runs, "all" if case.predict else case.measure), case.scoring
    if scoring:
        sizes, dtypes = {one.run.size for one in chosen}, {one.run.execution.dtype for one in chosen}
        check_command("`score_command`", scoring.command, sizes, dtypes)
    return Chosen(chosen, planned, case.measure, command, scoring, case.predict)


def expected_time(store: str | None, chosen: Chosen, measuring: MeasuringRecord, case: SweepCase) -> ExpectedRecord:
    """Estimate how long a sweep takes, without writing to the store.

    Raises:
        MnfpnError: where the store cannot be read.
    """
    machine = case.workers.machine
    if store is None or ("://" not in store and not Path(store).exists()):
        return expect(chosen, measuring, machine, None, case.remeasure)
    with open_store(store) as opened:
        return expect(chosen, measuring, machine, opened, case.remeasure)


def defer_sweep(
    name: str, chosen: Chosen, measuring: MeasuringRecord, case: SweepCase, callbacks: SweepCallbacks
) -> Chosen:
    """Insert a sweep with all runs of its space, to measure them later; return it without runs to measure now.

    Raises:
        MnfpnError: where no run is within the budget, or the store fails.
    """
    with open_store(name, create=True) as store:
        _check_budget(chosen)
        chosen = replace(chosen, runs=chosen.space.runs)
        sweep = begin(store, chosen, measuring, case.workers.machine, case.remeasure)
        counts = Counter(one.status for one in read_runs(store, sweep))
        later = f"{counted(counts['pending'], 'run')} to measure later: {resuming(store.argument)}"
        callbacks.note(later if counts["pending"] else nothing_left(store, counts))
    return replace(chosen, runs=())


def run_sweep(
    name: str, chosen: Chosen, measuring: MeasuringRecord, case: SweepCase, callbacks: SweepCallbacks
) -> SweepOutcome:
    """Insert a sweep into a store, and measure it; then train its networks, where it has a command for that.

    Raises:
        MnfpnError: where no run is within the budget, or the store or the machines fail; the results so far are stored.
    """
    with open_store(name, create=True) as store:
        _check_budget(chosen)
        with case.workers.pool([one.run for one in chosen.runs]) as pool:  # may fail, before there is a sweep to resume
            sweep = begin(store, chosen, measuring, case.workers.machine, case.remeasure)
            return _measure(store, [sweep], pool, case, callbacks)


def resume_sweeps(name: str, case: SweepCase, callbacks: SweepCallbacks) -> SweepOutcome:
    """Measure the pending runs of the sweeps of a store; with ``retry_failed``, also those that failed.

    Raises:
        MnfpnError: as `run_sweep`; or where all pending runs are for another kind of machine.
    """
    workers = case.workers
    with open_store(name) as store:
        machine = workers.machine
        for one in read_sweeps(store) if case.retry_failed else ():
            if one.machine == machine:
                retry_failed(store, one.id)
        if case.retry_failed:
            retry_trainings(store, [one for one in read_sweeps(store) if one.machine == machine])
        left = unfinished(store)
        if not left:
            callbacks.note(nothing_left(store, Counter(one.status for one in read_runs(store))))
            return _outcome(store, read_sweeps(store), (), stopped=False)
        here = [one for one in left if one.machine == machine]
        for one in left:
            if one.machine != machine:
                callbacks.note(_elsewhere(one, machine, workers))
        if not here:
            raise MnfpnError(Problem("`resume`", "all runs that are left are for other kinds of machines"))
        runs = [one for sweep in here for one in read_runs(store, sweep.id)]
        left_runs = [one.planned.run for one in runs if one.status == "pending"]
        with workers.pool(left_runs or [one.planned.run for one in runs]) as pool:
            pending = replace(case, retry_failed=False)  # what failed is pending already
            return _measure(store, [one.id for one in here], pool, pending, callbacks)


def _check_budget(chosen: Chosen) -> None:
    if not chosen.space.runs:
        raise MnfpnError(f"no run is within the budget: {sum(chosen.space.cut.values()):,} are beyond it")


def _elsewhere(sweep: Sweep, machine: str, workers: Workers) -> str:
    hint = " (resume it with `ray` ADDRESS)" * (sweep.machine.startswith(ON_RAY) and workers.ray is None)
    pending = f"{counted(sweep.left, 'run')} of it left{hint}"
    return f"sweep {sweep.id} is for {sweep.machine}, this is {machine}: {pending}"


def nothing_left(store: Store, counts: "Counter[RunStatus]") -> str:
    """Say that nothing is pending, and how many runs are measured or failed."""
    parts = [f"{counted(counts['done'], 'run')} measured"] if counts["done"] else []
    parts += [f"{counted(counts['failed'], 'run')} failed (`retry_failed` tries again)"] if counts["failed"] else []
    return f"nothing to resume in {store.name}: {', '.join(parts) or 'it has no runs'}"


def _measure(
    store: Store, numbers: Sequence[int], pool: Pool, case: SweepCase, callbacks: SweepCallbacks
) -> SweepOutcome:
    """Measure sweeps one after the other, and then train their networks, which would disturb the measurements.

    The newest sweep comes first: a run that several share is measured with the newest sweep's settings.

    Raises:
        MnfpnError: where no worker is left, or the store fails.
    """
    known, states = {one.id: one for one in read_sweeps(store)}, list[State]()
    with callbacks.stopping() as stopped:
        for number in sorted(numbers, reverse=True):
            measuring = case.changed(known[number].plan.measuring)
            with callbacks.bar(read_runs(store, number)) as report:
                teacher = _teacher(store, known[number])
                states.append(Sweeper(store, number, pool, measuring, stopped, report, teacher=teacher).run())
            if stopped():
                break
        for number in sorted(numbers, reverse=True):
            if known[number].plan.scoring and not stopped():
                with callbacks.training() as report_training:
                    Trainer(store, known[number], pool, case.remeasure, stopped, report_training).run()
    return _outcome(store, [one for one in read_sweeps(store) if one.id in numbers], states, stopped())


def _teacher(store: Store, sweep: Sweep) -> "Teacher | None":
    """Return what chooses the runs of a sweep whose other runs are predicted; None for any other sweep."""
    if not sweep.plan.predict:
        return None
    from mnfpn_cli.sweep.predictions import check_installed
    from mnfpn_cli.sweep.teaching import Teacher

    check_installed()
    most = None if sweep.plan.measure == "all" else int(sweep.plan.measure)
    return Teacher(most, read_runs(store, status="done"))


def _models(result: Swept) -> tuple[LatencyModelRecord, ...]:
    """Return the models that the measured runs of sweeps allow; none where no sweep predicts."""
    if not any(one.plan.predict for one in result.sweeps):
        return ()
    from mnfpn_cli.sweep.predictions import models_of

    return models_of(result.runs, result.baselines)


def _outcome(store: Store, sweeps: Sequence[Sweep], states: Sequence[State], stopped: bool) -> SweepOutcome:
    result = read_swept(store, sweeps, states)
    result = replace(result, models=_models(result))
    # If a sweep asked for all runtimes, one that cannot run here is not a failure.
    lenient = {one.id for one in sweeps if one.plan.space.all_runtimes}
    by_name = [state for state in states if state.sweep not in lenient]
    not_run = {left_out.run.key: left_out for state in by_name for left_out in state.not_run}
    failed = [*failures(result.runs, list(not_run.values())), *training_failures(result.trainings)]
    idle = bool(states) and not any(one.skipped for one in states) and not any(one.counts.done for one in sweeps)
    return SweepOutcome(
        result,
        (*(["no run was measured"] if idle and not stopped else []), *failed),
        stopped,
        sum(one.left for one in sweeps),
        result.trainings.pending if result.trainings else 0,
        resuming(store.argument),
    )

"""A sweep begun: its runs chosen, how long they take, and which results it takes from an earlier sweep."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean

import psutil

from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.sweep import InvalidRuns, MeasuringRecord, PlannedDocument, PlanRecord, SpaceCounts
from mnfpn_cli.documents.worker import Work
from mnfpn_cli.settings.execution import LAYERED, runtime_names
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.space.frontier import shuffled
from mnfpn_cli.space.planned import Planned, PlannedSpace, planned_run
from mnfpn_cli.space.runs import run_key
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import Result, StoredRun, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import REMEASURE_NONE, Remeasure, add_sweep, runs_to_remeasure, sweeps
from mnfpn_cli.sweep.process import Task


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a sweep is to measure, and what it was chosen from: ``measure`` says by which rule."""

    runs: Sequence[Planned]
    space: PlannedSpace
    measure: str
    command: str


def task_of(run: StoredRun, measuring: MeasuringRecord, is_baseline: bool) -> Task:
    """What a process is to measure of a run."""
    settings, size, execution = run.settings, run.size, run.execution
    work = Work(
        settings=settings,
        **size._asdict(),
        **asdict(execution),
        sampling=measuring.sampling,
        by_layer=measuring.by_layer and not is_baseline and execution.runtime in LAYERED and not execution.train,
    )
    return Task(work, measuring.timeout_s)


def this_machine() -> str:
    """The kind of machine that this is, by its processor and its GPUs: its times are those of others of this kind."""
    with reading_cpu_name() as name:
        return ", ".join([f"{name()}, {psutil.cpu_count(logical=False)} cores", *_gpus()])


def _gpus() -> list[str]:
    """The names of NVIDIA's GPUs, by their driver's own program: torch would take seconds."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]


def begin(
    store: Store, chosen: Chosen, measuring: MeasuringRecord, machine: str, again: Remeasure = REMEASURE_NONE
) -> int:
    """Put a sweep down, and return its number; ``again``: what of it is measured though it was before.

    Raises:
        StoreError: where the store cannot be written.
    """
    space = chosen.space
    plan = PlanRecord(
        command=chosen.command,
        measuring=measuring,
        measure=chosen.measure,
        space=SpaceCounts(runs=len(space.runs), repeated=space.repeated, all_runtimes=all_runtimes(space)),
        invalid=invalid_runs(space.invalid),
        over_budget=space.cut,
    )
    runs = [(run_key(one.run, machine), one) for one in shuffled(chosen.runs)]
    return add_sweep(store, plan, machine, runs, again)


def all_runtimes(space: PlannedSpace) -> bool:
    """Whether all runtimes were asked for, so that those may be missing which cannot run there."""
    return {one.run.execution.runtime for one in space.runs} >= set(runtime_names())


def unfinished(store: Store) -> list[Sweep]:
    """The sweeps that have runs left, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    return [one for one in sweeps(store) if one.counts.pending]


def invalid_runs(reasons: Mapping[str, int]) -> tuple[InvalidRuns, ...]:
    """Give combinations that are no network by their reason, the most common first."""
    return tuple(InvalidRuns(runs=runs, reason=reason) for reason, runs in Counter(reasons).most_common())


STARTED_S = 5.0
"""What a run's process takes besides timed passes: imports, counting, warming up (benchmarks/README.md)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a sweep may take.

    Attributes:
        runs: that are not measured yet.
        baselines: times of the baseline run in between.
        each_s: of one of these, at least; where some were measured, the mean of theirs.
        most_s: of one, at most; None where it is known from others.
    """

    runs: int
    baselines: int
    each_s: float
    most_s: float | None = None

    @property
    def seconds(self) -> float:
        """All together, in seconds."""
        return (self.runs + self.baselines) * self.each_s


def expect(
    chosen: Chosen, measuring: MeasuringRecord, sampling: Sampling, machine: str, store: Store | None, again: Remeasure
) -> Expected:
    """Work out how long a sweep may take.

    ``store``: one that may have some of its runs; ``again``: which of these are measured again.

    Raises:
        StoreError: where the store cannot be read.
    """
    known = {one.key: one for one in read_runs(store)} if store else {}
    keys = [run_key(one.run, machine) for one in chosen.runs]
    anew = set(store.read(lambda connection: runs_to_remeasure(connection, keys, again))) if store else set()
    left = sum(key in anew or key not in known or known[key].status == "pending" for key in keys)
    baselines = 1 + -(-left // measuring.baseline_every) if left else 0
    took = [_took(one.result) for one in known.values() if one.result and one.measured]
    if took:
        return Expected(left, baselines, fmean(took))
    most = STARTED_S + sampling.max_time_s if sampling.max_time_s != float("inf") else None
    return Expected(left, baselines, STARTED_S + sampling.min_time_s, most)


def _took(result: Result) -> float:
    return (datetime.fromisoformat(result.finished) - datetime.fromisoformat(result.started)).total_seconds()


def space_document(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> PlannedDocument:
    """Make the document of `mnfpn sweep` where nothing is measured."""
    space = chosen.space
    return PlannedDocument(
        settings=None,
        model=None,
        runs=len(space.runs) + sum(space.cut.values()),
        repeated=space.repeated,
        invalid=invalid_runs(space.invalid),
        over_budget=space.cut,
        measure=chosen.measure,
        chosen=len(chosen.runs),
        expected_s=expected.seconds if expected else None,
        frontier=tuple(map(planned_run, frontier)),
    )


@dataclass(frozen=True, slots=True)
class Reused:
    """So many runs of a sweep have results of options that are not its own; None where these are not known."""

    runs: int
    measured_with: str | None
    wanted: str


def reused(sweep: Sweep, runs: Sequence[StoredRun], known: Mapping[int, Sweep]) -> list[Reused]:
    """The runs of a sweep that were measured with other options than it asks for, the most common options first.

    ``known``: all sweeps of the store.
    """
    found = Counter[tuple[str | None, str]]()
    for one in runs:
        if one.measured and one.result and one.result.sweep != sweep.id:
            execution = one.execution
            layered = execution.runtime in LAYERED and not execution.train and sweep.plan.measuring.by_layer
            before = known.get(one.result.sweep)
            theirs, ours = _options(before, layered) if before else None, _options(sweep, layered)
            if theirs != ours:
                found[theirs, ours] += 1
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def reused_by_any(
    ran: Sequence[Sweep], runs: Mapping[int, Sequence[StoredRun]], known: Mapping[int, Sweep]
) -> list[Reused]:
    """The same of several sweeps, the oldest first: each run is held against the newest of them that has it.

    ``runs``: of each sweep, by its number.
    """
    newest = {run.key: sweep.id for sweep in ran for run in runs[sweep.id]}
    found = Counter[tuple[str | None, str]]()
    for sweep in ran:
        own = [run for run in runs[sweep.id] if newest[run.key] == sweep.id]
        for one in reused(sweep, own, known):
            found[one.measured_with, one.wanted] += one.runs
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def _options(sweep: Sweep, layered: bool) -> str:
    """The parameters that a sweep measures with; of layers only where these are asked for."""
    said = sweep.plan.measuring.sampling
    options = [f"`{name.removesuffix('_s')}` {value:g}" for name, value in said if value is not None]
    return " ".join([*options, *["`by_layer`"] * (layered and sweep.plan.measuring.by_layer)])

"""Start a sweep: name the kind of machine, estimate the time, and insert the chosen runs into a store."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from statistics import fmean

import psutil

from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.sweep import (
    ExpectedRecord,
    InvalidRuns,
    MeasuringRecord,
    PlannedDocument,
    PlannedSpaceRun,
    PlanRecord,
    ScoringRecord,
    SpaceCounts,
)
from mnfpn_cli.settings.measuring import runtime_names
from mnfpn_cli.space.frontier import by_macs, shuffled, spread
from mnfpn_cli.space.planned import Planned, PlannedSpace, planned_run
from mnfpn_cli.space.runs import Execution, Run, identifying_columns, run_key
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import StoredResult, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import REMEASURE_NONE, Remeasure, add_sweep, read_sweeps, runs_to_remeasure
from mnfpn_cli.sweep.reuse import measured_otherwise
from mnfpn_cli.sweep.training import has_trainings_left

STARTED_S = 5.0
"""The time of a run besides its timed passes: imports, operation counts, warm-up (benchmarks/README.md)."""


def this_machine() -> str:
    """Return the kind of this machine, by its processor and its GPUs; only times of one kind are compared."""
    with reading_cpu_name() as name:
        return ", ".join([f"{name()}, {psutil.cpu_count(logical=False)} cores", *_gpus()])


def _gpus() -> list[str]:
    """Return the names of NVIDIA's GPUs from `nvidia-smi`: importing torch for them takes seconds."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs of a new sweep.

    Attributes:
        runs: the chosen runs.
        space: the space that they were chosen from.
        measure: the rule that chose them.
        command: the command line that starts the sweep.
        scoring: the command that trains its networks; None for none.
        predict: whether only so many of the runs are measured as others can be predicted from, ``measure`` at most.
    """

    runs: Sequence[Planned]
    space: PlannedSpace
    measure: str
    command: str
    scoring: ScoringRecord | None = None
    predict: bool = False

    @property
    def trainings(self) -> int:
        """The number of networks to train: each once at each size and in each dtype."""
        runs = (one.run for one in self.runs if self.scoring)
        return len({(one.network, one.execution.dtype) for one in runs})

    @property
    def most(self) -> int:
        """The most runs that are measured."""
        limited = self.predict and self.measure != "all"
        return min(len(self.runs), int(self.measure)) if limited else len(self.runs)


def expect(
    chosen: Chosen,
    measuring: MeasuringRecord,
    machine: str,
    store: Store | None,
    remeasure: Remeasure,
) -> ExpectedRecord:
    """Estimate how long a sweep takes.

    Args:
        chosen: the runs of the sweep.
        measuring: the options of the measurements.
        machine: the kind of machine that measures.
        store: a store that may already have some of the runs.
        remeasure: which of these are measured again.

    Raises:
        StoreError: where the store cannot be read.
    """
    known = {run.key: run for run in read_runs(store)} if store else {}
    keys = [run_key(one.run, machine) for one in chosen.runs]
    repeated = set(store.read(lambda connection: runs_to_remeasure(connection, keys, remeasure))) if store else set()
    left = sum(key in repeated or key not in known or known[key].status == "pending" for key in keys)
    left = min(left, max(0, chosen.most - (len(keys) - left)))
    baselines = 1 + -(-left // measuring.baseline_every) if left else 0
    others = [known[key] for key in keys if key in known and key not in repeated]
    reused = measured_otherwise(measuring, others, {one.id: one for one in read_sweeps(store)} if store else {})
    durations = [_duration(run.result) for run in known.values() if run.result and run.measured]
    if durations:
        return ExpectedRecord(runs=left, baselines=baselines, each_s=fmean(durations), reused=tuple(reused))
    sampling = measuring.sampling.sampling()
    most = STARTED_S + sampling.max_time_s if sampling.max_time_s != float("inf") else None
    least = STARTED_S + sampling.min_time_s
    return ExpectedRecord(runs=left, baselines=baselines, each_s=least, most_s=most, reused=tuple(reused))


def _duration(result: StoredResult) -> float:
    return (datetime.fromisoformat(result.finished) - datetime.fromisoformat(result.started)).total_seconds()


def space_document(chosen: Chosen, expected: ExpectedRecord | None) -> PlannedDocument:
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
        chosen=chosen.most,
        trainings=chosen.trainings,
        all_runtimes=all_runtimes(space),
        expected_s=expected.seconds if expected else None,
        expected=expected,
        sample=_sample(space.runs),
    )


MOST_COMPARED = 2000
"""The most runs of a space that are compared to find the settings that differ."""

SAMPLED = 20
"""The networks of a space that its plan lists."""


def _sample(runs: Sequence[Planned]) -> tuple[PlannedSpaceRun, ...]:
    """Return the records of networks from the fewest MACs to the most, each named by what differs in the space."""
    networks = {(one.run.network, one.run.execution.batch, one.run.execution.dtype): one for one in runs}
    listed = spread(by_macs(networks.values()), SAMPLED)
    compared = Random(0).sample(runs, min(len(runs), MOST_COMPARED))
    columns = identifying_columns([_bare(one.run) for one in (*listed, *compared)])
    return tuple(
        PlannedSpaceRun(**dict(planned_run(one)), identity={key: words[index] for key, words in columns.items()})
        for index, one in enumerate(listed)
    )


def _bare(run: Run) -> Run:
    """Return the run without runtime, device, threads and allocator, on which its cost does not depend."""
    return Run(run.settings, run.size, Execution(batch=run.execution.batch, dtype=run.execution.dtype))


def begin(
    store: Store, chosen: Chosen, measuring: MeasuringRecord, machine: str, remeasure: Remeasure = REMEASURE_NONE
) -> int:
    """Insert a sweep and its runs, in random order; return the sweep's number.

    Args:
        store: where the sweep goes.
        chosen: the runs of the sweep.
        measuring: the options of the measurements.
        machine: the kind of machine that measures.
        remeasure: which runs are measured again though the store has them.

    Raises:
        StoreError: where the store cannot be written.
    """
    space = chosen.space
    plan = PlanRecord(
        command=chosen.command,
        measuring=measuring,
        scoring=chosen.scoring,
        measure=chosen.measure,
        predict=chosen.predict,
        space=SpaceCounts(runs=len(space.runs), repeated=space.repeated, all_runtimes=all_runtimes(space)),
        invalid=invalid_runs(space.invalid),
        over_budget=space.cut,
    )
    runs = [(run_key(one.run, machine), one) for one in shuffled(chosen.runs)]
    return add_sweep(store, plan, machine, runs, remeasure)


def all_runtimes(space: PlannedSpace) -> bool:
    """Return whether the space has every runtime: then it is no failure where some cannot run on the machine."""
    return {one.run.execution.runtime for one in space.runs} >= set(runtime_names())


def invalid_runs(reasons: Mapping[str, int]) -> tuple[InvalidRuns, ...]:
    """Return how many runs are invalid for each reason, the most common reason first."""
    return tuple(InvalidRuns(runs=runs, reason=reason) for reason, runs in Counter(reasons).most_common())


def unfinished(store: Store) -> list[Sweep]:
    """Return the sweeps that have runs to measure, or networks to train, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    return [sweep for sweep in read_sweeps(store) if sweep.left or has_trainings_left(store, sweep)]

"""A sweep begun: its cells chosen, put in random order, and how they are measured; or one that was begun before."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import psutil

from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.sweep import HowRecord, InvalidRuns, PlanRecord, SpaceCounts
from mnfpn_cli.documents.work import Work
from mnfpn_cli.settings.execution import LAYERED, runtime_names
from mnfpn_cli.space.cells import cell_key
from mnfpn_cli.space.frontier import shuffled
from mnfpn_cli.space.planned import Planned, PlannedSpace
from mnfpn_cli.store.rows import StoredCell, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import NOT_AGAIN, Again, add_sweep, sweeps
from mnfpn_cli.sweep.process import Task


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a sweep is to measure, and what it was chosen from: ``measure`` says by which rule."""

    cells: Sequence[Planned]
    space: PlannedSpace
    measure: str
    command: str


def task_of(cell: StoredCell, how: HowRecord, is_reference: bool) -> Task:
    """What a process is to measure of a cell."""
    settings, size, execution = cell.cell.settings, cell.cell.size, cell.cell.execution
    work = Work(
        settings=settings,
        **size._asdict(),
        **asdict(execution),
        sampling=how.sampling,
        by_layer=how.by_layer and not is_reference and execution.runtime in LAYERED and not execution.train,
    )
    return Task(work, how.timeout_s)


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


def begin(store: Store, chosen: Chosen, how: HowRecord, place: str, again: Again = NOT_AGAIN) -> int:
    """Put a sweep down, and return its number; ``again``: what of it is measured though it was before.

    Raises:
        StoreError: where the store cannot be written.
    """
    space = chosen.space
    plan = PlanRecord(
        command=chosen.command,
        how=how,
        measure=chosen.measure,
        space=SpaceCounts(cells=len(space.cells), repeated=space.repeated, all_runtimes=all_runtimes(space)),
        invalid=invalid_runs(space.invalid),
        over_budget=space.cut,
    )
    cells = [(cell_key(one.cell, place), one) for one in shuffled(chosen.cells)]
    return add_sweep(store, plan, place, cells, again)


def all_runtimes(space: PlannedSpace) -> bool:
    """Whether all runtimes were asked for, so that those may be missing which cannot run there."""
    return {one.cell.execution.runtime for one in space.cells} >= set(runtime_names())


def unfinished(store: Store) -> list[Sweep]:
    """The sweeps that have cells left, the oldest first.

    Raises:
        StoreError: where the store cannot be read.
    """
    return [one for one in sweeps(store) if one.counts.pending]


def invalid_runs(reasons: Mapping[str, int]) -> tuple[InvalidRuns, ...]:
    """Give combinations that are no network by their reason, the most common first."""
    return tuple(InvalidRuns(cells=cells, reason=reason) for reason, cells in Counter(reasons).most_common())

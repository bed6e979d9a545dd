"""A sweep begun: its cells chosen, put in random order, and how they are measured; or one that was begun before."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError

from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.costs import StatusCounts
from mnfpn_cli.documents.sweep import HowRecord, InvalidRuns, SpaceCounts, SweepRecord
from mnfpn_cli.documents.work import SamplingRecord, Work
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.settings.measuring import LAYERED, runtime_names
from mnfpn_cli.space.cells import cell_key
from mnfpn_cli.space.frontier import shuffled
from mnfpn_cli.space.planned import Planned, PlannedSpace
from mnfpn_cli.store.rows import StoredCell, Sweep, how_asked
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import NOT_AGAIN, Again, add_sweep, sweeps
from mnfpn_cli.sweep.process import Task


@dataclass(frozen=True, slots=True)
class How:
    """How cells are measured.

    Attributes:
        sampling: when a measurement is enough.
        by_layer: whether layers are timed, by the runtimes that run layer by layer.
        timeout_s: after which a cell is given up.
        reference_every: cells between two times of the reference.
        latency_s: cells that cannot meet it are not measured.
    """

    sampling: SamplingRecord = field(default_factory=SamplingRecord)
    by_layer: bool = False
    timeout_s: float = 900.0
    reference_every: int = 10
    latency_s: float | None = None

    def task(self, cell: StoredCell, is_reference: bool) -> Task:
        """What a process is to measure."""
        settings, size, how = cell.cell.settings, cell.cell.size, cell.cell.execution
        work = Work(
            settings=settings,
            **size._asdict(),
            **asdict(how),
            sampling=self.sampling,
            by_layer=self.by_layer and not is_reference and how.runtime in LAYERED,
        )
        return Task(work, self.timeout_s)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a sweep is to measure, and what it was chosen from: ``measure`` says by which rule."""

    cells: Sequence[Planned]
    space: PlannedSpace
    measure: str
    command: str


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


def begin(store: Store, chosen: Chosen, how: How, place: str, again: Again = NOT_AGAIN) -> int:
    """Put a sweep down, and return its number; ``again``: what of it is measured though it was before.

    Raises:
        StoreError: where the store cannot be written.
    """
    space = chosen.space
    plan = {
        "command": chosen.command,
        "how": TypeAdapter(How).dump_python(how, mode="json"),
        "measure": chosen.measure,
        "space": {"cells": len(space.cells), "repeated": space.repeated, "all_runtimes": all_runtimes(space)},
        "invalid": dict(space.invalid),
        "cut": dict(space.cut),
    }
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
    return [one for one in sweeps(store) if one.counts.get("pending")]


def how_of(plan: Mapping[str, Any]) -> How:
    """How the cells of a sweep are measured.

    Raises:
        MnfpnError: where another version of mnfpn has begun it.
    """
    how = _how(plan)
    if how is None:
        raise MnfpnError(
            "--resume: a sweep was begun by another version of mnfpn, or its plan is damaged; begin it anew"
        )
    return how


def _how(plan: Mapping[str, Any]) -> How | None:
    """The same; None where another version of mnfpn has begun it."""
    stored = how_asked(plan)
    try:
        if stored.keys() == {one.name for one in fields(How)}:
            return TypeAdapter(How).validate_python(stored)
    except ValidationError:
        pass
    return None


def sweep_record(sweep: Sweep) -> SweepRecord:
    """Describe a sweep of a store; null is what its plan does not say."""
    plan = sweep.plan
    return SweepRecord(
        id=sweep.id,
        started=sweep.started,
        machine=sweep.place,
        command=plan.get("command", ""),
        how=_how_record(plan),
        measure=plan.get("measure", "all"),
        space=_space_counts(plan.get("space")),
        invalid=invalid_runs(plan.get("invalid", {})),
        over_budget=plan.get("cut", {}),
        counts=status_counts(sweep.counts),
    )


def _how_record(plan: Mapping[str, Any]) -> HowRecord | None:
    how = _how(plan)
    if how is None:
        return None
    try:
        return HowRecord(
            sampling=how.sampling,
            by_layer=how.by_layer,
            timeout_s=how.timeout_s,
            reference_every=how.reference_every,
            max_latency_s=how.latency_s,
        )
    except ValidationError:  # a number that is none, by the hand of somebody
        return None


def _space_counts(said: Mapping[str, Any] | None) -> SpaceCounts | None:
    if said is None:
        return None
    repeated, all_runtimes = said.get("repeated", 0), said.get("all_runtimes", False)
    return SpaceCounts(cells=said["cells"], repeated=repeated, all_runtimes=all_runtimes)


def invalid_runs(reasons: Mapping[str, int]) -> tuple[InvalidRuns, ...]:
    """Give combinations that are no network by their reason, the most common first."""
    return tuple(InvalidRuns(cells=cells, reason=reason) for reason, cells in Counter(reasons).most_common())


def status_counts(counts: Mapping[str, int]) -> StatusCounts:
    """Give how many runs there are of each status; of one that is not among them, none."""
    return StatusCounts(done=counts.get("done", 0), failed=counts.get("failed", 0), pending=counts.get("pending", 0))

"""How long a sweep will take, and which results it takes from an earlier one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from mnfpn_cli.documents.sweep import HowRecord, PlannedDocument
from mnfpn_cli.settings.execution import LAYERED
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.space.cells import cell_key
from mnfpn_cli.space.planned import Planned, planned_run
from mnfpn_cli.store.read import read_cells
from mnfpn_cli.store.rows import Result, StoredCell, Sweep
from mnfpn_cli.store.store import Store
from mnfpn_cli.store.sweeps import Again, measured_again
from mnfpn_cli.sweep.start import Chosen, invalid_runs

STARTED_S = 5.0
"""What a cell's process takes besides timed passes: imports, counting, warming up (benchmarks/README.md)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a sweep may take.

    Attributes:
        cells: that are not measured yet.
        references: times of the reference cell in between.
        each_s: of one of these, at least; where some were measured, the mean of theirs.
        most_s: of one, at most; None where it is known from others.
    """

    cells: int
    references: int
    each_s: float
    most_s: float | None = None

    @property
    def seconds(self) -> float:
        """All together, in seconds."""
        return (self.cells + self.references) * self.each_s


def expect(
    chosen: Chosen, how: HowRecord, sampling: Sampling, place: str, store: Store | None, again: Again
) -> Expected:
    """Work out how long a sweep may take.

    ``store``: one that may have some of its cells; ``again``: which of these are measured again.

    Raises:
        StoreError: where the store cannot be read.
    """
    known = {one.key: one for one in read_cells(store)} if store else {}
    keys = [cell_key(one.cell, place) for one in chosen.cells]
    anew = set(store.read(lambda connection: measured_again(connection, keys, again))) if store else set()
    left = sum(key in anew or key not in known or known[key].status == "pending" for key in keys)
    references = 1 + -(-left // how.reference_every) if left else 0
    took = [_took(one.result) for one in known.values() if one.result and one.measured]
    if took:
        return Expected(left, references, fmean(took))
    most = STARTED_S + sampling.max_time_s if sampling.max_time_s != float("inf") else None
    return Expected(left, references, STARTED_S + sampling.min_time_s, most)


def _took(result: Result) -> float:
    return (datetime.fromisoformat(result.finished) - datetime.fromisoformat(result.started)).total_seconds()


def space_document(chosen: Chosen, frontier: Sequence[Planned], expected: Expected | None) -> PlannedDocument:
    """Make the document of `mnfpn sweep` where nothing is measured."""
    space = chosen.space
    return PlannedDocument(
        settings=None,
        model=None,
        cells=len(space.cells) + sum(space.cut.values()),
        repeated=space.repeated,
        invalid=invalid_runs(space.invalid),
        over_budget=space.cut,
        measure=chosen.measure,
        chosen=len(chosen.cells),
        expected_s=expected.seconds if expected else None,
        frontier=tuple(map(planned_run, frontier)),
    )


@dataclass(frozen=True, slots=True)
class Reused:
    """So many cells of a sweep have results of options that are not its own; None where these are not known."""

    cells: int
    measured_with: str | None
    wanted: str


def reused(sweep: Sweep, cells: Sequence[StoredCell], known: Mapping[int, Sweep]) -> list[Reused]:
    """The cells of a sweep that were measured with other options than it asks for, the most common options first.

    ``known``: all sweeps of the store.
    """
    found = Counter[tuple[str | None, str]]()
    for one in cells:
        if one.measured and one.result and one.result.sweep != sweep.id:
            execution = one.cell.execution
            layered = execution.runtime in LAYERED and not execution.train and sweep.plan.how.by_layer
            before = known.get(one.result.sweep)
            theirs, ours = _options(before, layered) if before else None, _options(sweep, layered)
            if theirs != ours:
                found[theirs, ours] += 1
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def reused_by_any(
    ran: Sequence[Sweep], cells: Mapping[int, Sequence[StoredCell]], known: Mapping[int, Sweep]
) -> list[Reused]:
    """The same of several sweeps, the oldest first: each cell is held against the newest of them that has it.

    ``cells``: of each sweep, by its number.
    """
    newest = {cell.key: sweep.id for sweep in ran for cell in cells[sweep.id]}
    found = Counter[tuple[str | None, str]]()
    for sweep in ran:
        own = [cell for cell in cells[sweep.id] if newest[cell.key] == sweep.id]
        for one in reused(sweep, own, known):
            found[one.measured_with, one.wanted] += one.cells
    return [Reused(number, theirs, ours) for (theirs, ours), number in found.most_common()]


def _options(sweep: Sweep, layered: bool) -> str:
    """The parameters that a sweep measures with; of layers only where these are asked for."""
    said = sweep.plan.how.sampling
    options = [f"`{name.removesuffix('_s')}` {value:g}" for name, value in said if value is not None]
    return " ".join([*options, *["`by_layer`"] * (layered and sweep.plan.how.by_layer)])

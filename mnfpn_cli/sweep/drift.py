"""Whether the machine stayed the same in a sweep: the reference cell, timed again and again in between.

Each time of it is held against the first one on the same node. Between two of them the machine's pace is taken to have
changed evenly, so that a cell measured then can be corrected: its time over the pace.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.store.rows import Reference, StoredCell

MOVED = 0.05
"""The share by which a reference's median must differ from its first, its interval too, to be told."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The reference cell took so many times its first time, on a node, at a moment."""

    node: str
    finished: str
    pace: float


def moves(references: Sequence[Reference]) -> list[Moved]:
    """The times of reference cells that differ from their first by more than `MOVED`, intervals and all."""
    found = []
    for same in _by_cell(references):
        first = Latency(same[0].samples)
        for one in same[1:]:
            later = Latency(one.samples)
            pace = later.median / first.median
            if abs(pace - 1) > MOVED and _apart(first, later):
                found.append(Moved(one.node, one.finished, pace))
    return found


def pace_at(references: Sequence[Reference], node: str, finished: str) -> float:
    """The machine's pace when a cell was finished: 1.1 where all took a tenth longer than at first.

    ``references``: those of the cell's sweep. Without one before and one behind the moment it is that of the nearest;
    without any, 1.
    """
    paces = []
    for same in _by_cell([one for one in references if one.node == node]):
        first = Latency(same[0].samples).median
        points = [(_seconds(one.finished), Latency(one.samples).median / first) for one in same]
        paces.append(_between(points, _seconds(finished)))
    return sum(paces) / len(paces) if paces else 1.0


def paces_of(cells: Sequence[StoredCell], references: Sequence[Reference]) -> dict[str, float]:
    """The machine's pace at each cell of the sweeps and nodes on which the reference moved."""
    groups = defaultdict[tuple[int, str], list[Reference]](list)
    for one in references:
        groups[one.sweep, one.node].append(one)
    # Only the medians count from here on, and a single sample is its own.
    shifted = {
        where: [replace(one, samples=(Latency(one.samples).median,)) for one in group]
        for where, group in groups.items()
        if moves(group)
    }
    found = {}
    for cell in cells:
        result = cell.result
        if cell.measured and result and (group := shifted.get((result.sweep, result.node))):
            found[cell.key] = pace_at(group, result.node, result.finished)
    return found


def _between(points: Sequence[tuple[float, float]], moment: float) -> float:
    if moment <= points[0][0]:
        return points[0][1]
    for (before, slow), (behind, fast) in pairwise(points):
        if moment <= behind:
            return slow + (fast - slow) * (moment - before) / (behind - before or 1.0)
    return points[-1][1]


def _by_cell(references: Sequence[Reference]) -> list[list[Reference]]:
    groups: dict[tuple[int, str, str], list[Reference]] = {}
    for one in sorted(references, key=lambda one: one.finished):
        groups.setdefault((one.sweep, one.node, one.key), []).append(one)
    return list(groups.values())


def _apart(one: Latency, other: Latency) -> bool:
    """Whether two medians' intervals have nothing in common; with too few samples for one, whether ranges have not."""
    (low, high), (below, above) = (
        one.interval or (one.min, max(one.samples)),
        other.interval or (other.min, max(other.samples)),
    )
    return high < below or above < low


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()

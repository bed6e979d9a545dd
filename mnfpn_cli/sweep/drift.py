"""Whether the machine stayed the same in a sweep: the baseline run, timed again and again in between.

Each time of it is held against the first one on the same worker. Between two of them the machine's drift is taken to
have changed evenly, so that a run measured then can be corrected: its time over the drift.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.store.rows import BaselineTiming, StoredRun

MOVED = 0.05
"""The share by which a baseline's median must differ from its first, its interval too, to be told."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The baseline run took so many times its first time, on a worker, at a moment."""

    worker: str
    finished: str
    drift: float


def moves(baselines: Sequence[BaselineTiming]) -> list[Moved]:
    """The times of baseline runs that differ from their first by more than `MOVED`, intervals and all."""
    found = []
    for same in _by_run(baselines):
        first = Latency(same[0].samples)
        for one in same[1:]:
            later = Latency(one.samples)
            drift = later.median / first.median
            if abs(drift - 1) > MOVED and _apart(first, later):
                found.append(Moved(one.worker, one.finished, drift))
    return found


def drift_at(baselines: Sequence[BaselineTiming], worker: str, finished: str) -> float:
    """The machine's drift when a run was finished: 1.1 where all took a tenth longer than at first.

    ``baselines``: those of the run's sweep. Without one before and one behind the moment it is that of the nearest;
    without any, 1.
    """
    drifts = []
    for same in _by_run([one for one in baselines if one.worker == worker]):
        first = Latency(same[0].samples).median
        points = [(_seconds(one.finished), Latency(one.samples).median / first) for one in same]
        drifts.append(_between(points, _seconds(finished)))
    return sum(drifts) / len(drifts) if drifts else 1.0


def drifts_of(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> dict[str, float]:
    """The machine's drift at each run of the sweeps and workers on which the baseline moved."""
    groups = defaultdict[tuple[int, str], list[BaselineTiming]](list)
    for one in baselines:
        groups[one.sweep, one.worker].append(one)
    # Only the medians count from here on, and a single sample is its own.
    shifted = {
        where: [replace(one, samples=(Latency(one.samples).median,)) for one in group]
        for where, group in groups.items()
        if moves(group)
    }
    found = {}
    for run in runs:
        result = run.result
        if run.measured and result and (group := shifted.get((result.sweep, result.worker))):
            found[run.key] = drift_at(group, result.worker, result.finished)
    return found


def _between(points: Sequence[tuple[float, float]], moment: float) -> float:
    if moment <= points[0][0]:
        return points[0][1]
    for (before, slow), (behind, fast) in pairwise(points):
        if moment <= behind:
            return slow + (fast - slow) * (moment - before) / (behind - before or 1.0)
    return points[-1][1]


def _by_run(baselines: Sequence[BaselineTiming]) -> list[list[BaselineTiming]]:
    groups: dict[tuple[int, str, str], list[BaselineTiming]] = {}
    for one in sorted(baselines, key=lambda one: one.finished):
        groups.setdefault((one.sweep, one.worker, one.key), []).append(one)
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

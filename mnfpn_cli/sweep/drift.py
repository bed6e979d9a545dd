"""Drift: how far the times of a sweep's baseline run moved, and so the times of the runs between them.

The drift at a baseline run is its median over that of the first one on the same worker. Between two baseline runs the
drift is interpolated linearly over time. A run's median divided by the drift is its corrected time.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from mnfpn_cli.documents.report import MovedRecord
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.store.rows import BaselineTiming, StoredRun

MOVED = 0.05
"""The least |drift - 1| that counts as moved, where the 95 % intervals of the two medians do not overlap either."""


def moved_baselines(baselines: Sequence[BaselineTiming]) -> list[MovedRecord]:
    """Return the baseline runs that differ from the first one of their sweep and worker by more than `MOVED`."""
    moved = []
    for repeats in _by_run(baselines):
        first = Latency(repeats[0].samples)
        for one in repeats[1:]:
            later = Latency(one.samples)
            drift = later.median / first.median
            if abs(drift - 1) > MOVED and _apart(first, later):
                moved.append(MovedRecord(worker=one.worker, finished=one.finished, drift=drift))
    return moved


def drift_at(baselines: Sequence[BaselineTiming], worker: str, finished: str) -> float:
    """Return the drift of a worker when a run finished: 1.1 where passes took a tenth longer than at first.

    Args:
        baselines: the baseline runs of the run's sweep.
        worker: the worker that measured the run.
        finished: when it finished: UTC, ISO 8601.

    Returns:
        The drift; before the first baseline run and after the last, that of the nearest; without any, 1.
    """
    drifts = []
    for repeats in _by_run([one for one in baselines if one.worker == worker]):
        first = Latency(repeats[0].samples).median
        points = [(_seconds(one.finished), Latency(one.samples).median / first) for one in repeats]
        drifts.append(_interpolated(points, _seconds(finished)))
    return sum(drifts) / len(drifts) if drifts else 1.0


def drifts_of(runs: Sequence[StoredRun], baselines: Sequence[BaselineTiming]) -> dict[str, float]:
    """Return the drift at each measured run, by key, for the sweeps and workers where a baseline run moved."""
    groups = defaultdict[tuple[int, str], list[BaselineTiming]](list)
    for one in baselines:
        groups[one.sweep, one.worker].append(one)
    # `drift_at` needs the medians alone: computed once here, not for each run.
    moved = {
        sweep_and_worker: [replace(one, samples=(Latency(one.samples).median,)) for one in group]
        for sweep_and_worker, group in groups.items()
        if moved_baselines(group)
    }
    drifts = {}
    for run in runs:
        result = run.result
        if run.measured and result and (group := moved.get((result.sweep, result.worker))):
            drifts[run.key] = drift_at(group, result.worker, result.finished)
    return drifts


def _interpolated(points: Sequence[tuple[float, float]], moment: float) -> float:
    """Return the drift at a moment from the times and drifts of baseline runs, in order of time."""
    if moment <= points[0][0]:
        return points[0][1]
    for (before, first), (after, second) in pairwise(points):
        if moment <= after:
            return first + (second - first) * (moment - before) / (after - before or 1.0)
    return points[-1][1]


def _by_run(baselines: Sequence[BaselineTiming]) -> list[list[BaselineTiming]]:
    """Group baseline runs by sweep, worker and key, each group in order of time."""
    groups: dict[tuple[int, str, str], list[BaselineTiming]] = {}
    for one in sorted(baselines, key=lambda one: one.finished):
        groups.setdefault((one.sweep, one.worker, one.key), []).append(one)
    return list(groups.values())


def _apart(one: Latency, other: Latency) -> bool:
    """Return whether the intervals of two medians do not overlap; with too few samples, the ranges of the samples."""
    low, high = one.interval or (one.min, max(one.samples))
    other_low, other_high = other.interval or (other.min, max(other.samples))
    return high < other_low or other_high < low


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()

"""Choose what a sweep measures next: when a baseline run is due, and which runs are too slow to be measured."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.sweep.pool import Worker

BASELINE_EVERY = 10
"""Runs between two baseline runs, which take about a tenth of the time."""

MAX_FAILED = 3
"""Baseline runs that may fail before a sweep continues without."""

Requirements = tuple[str, str, str, bool, str]
"""The runtime, device and dtype of a run, whether it trains, and its allocator.

A machine can run all runs of the same, or none.
"""


def requirements(run: StoredRun) -> Requirements:
    """Return what a run needs of a machine."""
    execution = run.execution
    return execution.runtime, execution.device, execution.dtype, execution.train, execution.allocator


@dataclass
class Baselines:
    """Says when the baseline run is due on a worker: before its first run, then every ``every`` runs, and at the end.

    Each device that runs are for has a baseline run: the median of its runs by MACs.
    """

    runs: Mapping[str, StoredRun]
    every: int = BASELINE_EVERY
    _since: dict[tuple[str, str], int] = field(default_factory=dict)  # runs since the baseline, by worker and device
    _failed: set[str] = field(default_factory=set)
    _unavailable: set[Requirements] = field(default_factory=set)
    _chosen: dict[str, StoredRun] = field(default_factory=dict)  # by device

    def __post_init__(self) -> None:
        self._choose()

    def _choose(self) -> None:
        by_device = defaultdict[str, list[StoredRun]](list)
        for run in self.runs.values():
            if run.status != "failed" and run.key not in self._failed and requirements(run) not in self._unavailable:
                by_device[run.execution.device].append(run)
        self._chosen = {device: _median_by_macs(runs) for device, runs in by_device.items()}

    def due(self, worker: Worker, last: bool = False) -> StoredRun | None:
        """Return the baseline run that a worker is to measure now; ``last``: it has no other runs left."""
        for device, run in self._chosen.items():
            since = self._since.get((worker.name, device))
            if not worker.takes(run.planned.run) or (last and not since):
                continue
            if since is None or since >= self.every or last:
                return run
        return None

    def measured(self, worker: Worker, run: StoredRun, is_baseline: bool) -> None:
        """Count a run that a worker has measured."""
        key = (worker.name, run.execution.device)
        self._since[key] = 0 if is_baseline else self._since.get(key, 0) + 1

    def cannot_run(self, run: StoredRun) -> None:
        """Choose no baseline run with the requirements of this run: some worker does not meet them."""
        before = self._chosen
        self._unavailable.add(requirements(run))
        self._choose()
        unchanged = {device for device, chosen in before.items() if self._chosen.get(device) == chosen}
        self._since = {key: since for key, since in self._since.items() if key[1] in unchanged}

    def failed(self, run: StoredRun) -> bool:
        """Choose another baseline run in place of this one, which failed; return whether there is one.

        After `MAX_FAILED` of them there is none.
        """
        self._failed.add(run.key)
        self._since = {key: since for key, since in self._since.items() if key[1] != run.execution.device}
        self._choose()
        if len(self._failed) >= MAX_FAILED:
            self._chosen = {}
        return run.execution.device in self._chosen


def _median_by_macs(runs: list[StoredRun]) -> StoredRun:
    return sorted(runs, key=lambda run: (run.figures.macs * run.execution.batch, run.key))[len(runs) // 2]


@dataclass
class Rates:
    """The highest rate, in MACs per second, that any run has reached, by machine and execution.

    A run that would exceed the latency limit ``latency_s`` even at that rate is taken to exceed it. This is a guess:
    a run that computes faster than all measured so far would be left out wrongly.
    """

    latency_s: float | None
    _best: dict[object, float] = field(default_factory=dict)

    def learn(self, run: StoredRun) -> None:
        """Take a measured run into account."""
        if run.latency_s:
            rate = run.figures.macs * run.execution.batch / run.latency_s
            self._best[_group(run)] = max(rate, self._best.get(_group(run), 0.0))

    def too_slow(self, run: StoredRun) -> bool:
        """Return whether a run would exceed the latency limit at the highest rate so far."""
        rate = self._best.get(_group(run))
        if self.latency_s is None or rate is None:
            return False
        return run.figures.macs * run.execution.batch / rate > self.latency_s

    def better(self, best: StoredRun | None, run: StoredRun) -> StoredRun | None:
        """Return the run of the two with more MACs within the latency limit; without one, the faster."""
        if run.latency_s is None or run.latency_s > (self.latency_s or float("inf")):
            return best
        if best is None or best.latency_s is None:
            return run
        if self.latency_s is None:
            return min(best, run, key=lambda one: one.latency_s or 0.0)
        return max(best, run, key=lambda one: (one.figures.macs, -(one.latency_s or 0.0)))


def _group(run: StoredRun) -> object:
    return run.target_machine, run.execution

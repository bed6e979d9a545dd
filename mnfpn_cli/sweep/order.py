"""What a sweep measures next, and which runs need not be measured by what others showed."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.sweep.pool import Worker

BASELINE_EVERY = 10
"""Runs between two times of the baseline: a tenth of the time goes there."""

MAX_BROKEN = 3
"""Runs that fail as the baseline, after which it is given up."""

Way = tuple[str, str, str, bool]
"""The runtime, device and dtype of a run, and whether it trains: what decides whether a machine can run it."""


def way_of(run: StoredRun) -> Way:
    """How a run is run."""
    execution = run.execution
    return execution.runtime, execution.device, execution.dtype, execution.train


@dataclass
class Baselines:
    """When the baseline run is due on a worker: before its first run, after every so many, and behind the last.

    There is one for each device that runs are for: the middle one of them by MACs.
    """

    runs: Mapping[str, StoredRun]
    every: int = BASELINE_EVERY
    _since: dict[tuple[str, str], int] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)
    _unfit: set[Way] = field(default_factory=set)
    _chosen: dict[str, StoredRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._choose()

    def _choose(self) -> None:
        by_device = defaultdict[str, list[StoredRun]](list)
        for one in self.runs.values():
            if one.status != "failed" and one.key not in self._broken and way_of(one) not in self._unfit:
                by_device[one.execution.device].append(one)
        self._chosen = {device: _middle(runs) for device, runs in by_device.items()}

    def due(self, worker: Worker, last: bool = False) -> StoredRun | None:
        """The baseline run that a worker is to time now; ``last``: there is nothing else to do."""
        for device, run in self._chosen.items():
            since = self._since.get((worker.name, device))
            if not worker.takes(run.planned.run) or (last and not since):
                continue
            if since is None or since >= self.every or last:
                return run
        return None

    def measured(self, worker: Worker, run: StoredRun, is_baseline: bool) -> None:
        """A worker is through with a run."""
        place = (worker.name, run.execution.device)
        self._since[place] = 0 if is_baseline else self._since.get(place, 0) + 1

    def cannot_run(self, run: StoredRun) -> None:
        """No run that is run in this way is a baseline: there is a machine that cannot."""
        before = self._chosen
        self._unfit.add(way_of(run))
        self._choose()
        same = {device for device, one in before.items() if self._chosen.get(device) == one}
        self._since = {place: since for place, since in self._since.items() if place[1] in same}

    def failed(self, run: StoredRun) -> bool:
        """This one is no baseline, as it cannot be timed: whether another is chosen; after a few of them, none is."""
        self._broken.add(run.key)
        self._since = {place: since for place, since in self._since.items() if place[1] != run.execution.device}
        self._choose()
        if len(self._broken) >= MAX_BROKEN:
            self._chosen = {}
        return run.execution.device in self._chosen


def _middle(runs: list[StoredRun]) -> StoredRun:
    return sorted(runs, key=lambda one: (one.figures.macs * one.execution.batch, one.key))[len(runs) // 2]


@dataclass
class Rates:
    """The most MACs a second that any run has reached, by place, device, runtime, dtype and batch.

    A run that would exceed the latency at that rate is taken to exceed it at its own. It is a guess, and a generous
    one: no run that was measured so far came nearer to the limit than this assumes.
    """

    latency_s: float | None
    _best: dict[object, float] = field(default_factory=dict)

    def learn(self, run: StoredRun) -> None:
        """Take a measured run into account."""
        if run.latency_s:
            rate = run.figures.macs * run.execution.batch / run.latency_s
            self._best[_like(run)] = max(rate, self._best.get(_like(run), 0.0))

    def too_slow(self, run: StoredRun) -> bool:
        """Whether a run is not worth measuring under the latency."""
        rate = self._best.get(_like(run))
        if self.latency_s is None or rate is None:
            return False
        return run.figures.macs * run.execution.batch / rate > self.latency_s

    def better(self, best: StoredRun | None, run: StoredRun) -> StoredRun | None:
        """The one of two that keeps more capacity within the latency; without a limit, the faster one."""
        if run.latency_s is None or run.latency_s > (self.latency_s or float("inf")):
            return best
        if best is None or best.latency_s is None:
            return run
        if self.latency_s is None:
            return min(best, run, key=lambda one: one.latency_s or 0.0)
        return max(best, run, key=lambda one: (one.figures.capacity.product, -(one.latency_s or 0.0)))


def _like(run: StoredRun) -> object:
    return run.target_machine, run.execution

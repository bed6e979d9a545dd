"""What a sweep measures next, and which cells need not be measured by what others showed."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mnfpn_cli.store.rows import StoredCell
from mnfpn_cli.sweep.pool import Worker

REFERENCE_EVERY = 10
"""Cells between two times of the reference: a tenth of the time goes there."""

MAX_BROKEN = 3
"""Cells that fail as the reference, after which it is given up."""

Way = tuple[str, str, str, bool]
"""The runtime, device and dtype of a cell, and whether it trains: what decides whether a machine can run it."""


def way_of(cell: StoredCell) -> Way:
    """How a cell is run."""
    how = cell.cell.execution
    return how.runtime, how.device, how.dtype, how.train


@dataclass
class References:
    """When the reference cell is due on a worker: before its first cell, after every so many, and behind the last.

    There is one for each device that cells are for: the middle one of them by MACs.
    """

    cells: Mapping[str, StoredCell]
    every: int = REFERENCE_EVERY
    _since: dict[tuple[str, str], int] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)
    _unfit: set[Way] = field(default_factory=set)
    _chosen: dict[str, StoredCell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._choose()

    def _choose(self) -> None:
        by_device = defaultdict[str, list[StoredCell]](list)
        for one in self.cells.values():
            if one.status != "failed" and one.key not in self._broken and way_of(one) not in self._unfit:
                by_device[one.cell.execution.device].append(one)
        self._chosen = {device: _middle(cells) for device, cells in by_device.items()}

    def due(self, worker: Worker, last: bool = False) -> StoredCell | None:
        """The reference cell that a worker is to time now; ``last``: there is nothing else to do."""
        for device, cell in self._chosen.items():
            since = self._since.get((worker.node, device))
            if not worker.takes(cell.cell) or (last and not since):
                continue
            if since is None or since >= self.every or last:
                return cell
        return None

    def measured(self, worker: Worker, cell: StoredCell, is_reference: bool) -> None:
        """A worker is through with a cell."""
        place = (worker.node, cell.cell.execution.device)
        self._since[place] = 0 if is_reference else self._since.get(place, 0) + 1

    def cannot_run(self, cell: StoredCell) -> None:
        """No cell that is run in this way is a reference: there is a machine that cannot."""
        before = self._chosen
        self._unfit.add(way_of(cell))
        self._choose()
        same = {device for device, one in before.items() if self._chosen.get(device) == one}
        self._since = {place: since for place, since in self._since.items() if place[1] in same}

    def failed(self, cell: StoredCell) -> bool:
        """This one is no reference, as it cannot be timed: whether another is chosen; after a few of them, none is."""
        self._broken.add(cell.key)
        self._since = {place: since for place, since in self._since.items() if place[1] != cell.cell.execution.device}
        self._choose()
        if len(self._broken) >= MAX_BROKEN:
            self._chosen = {}
        return cell.cell.execution.device in self._chosen


def _middle(cells: list[StoredCell]) -> StoredCell:
    return sorted(cells, key=lambda one: (one.figures.macs * one.cell.execution.batch, one.key))[len(cells) // 2]


@dataclass
class Rates:
    """The most MACs a second that any cell has reached, by place, device, runtime, dtype and batch.

    A cell that would exceed the latency at that rate is taken to exceed it at its own. It is a guess, and a generous
    one: no cell that was measured so far came nearer to the limit than this assumes.
    """

    latency_s: float | None
    _best: dict[object, float] = field(default_factory=dict)

    def learn(self, cell: StoredCell) -> None:
        """Take a measured cell into account."""
        if cell.latency_s:
            rate = cell.figures.macs * cell.cell.execution.batch / cell.latency_s
            self._best[_like(cell)] = max(rate, self._best.get(_like(cell), 0.0))

    def too_slow(self, cell: StoredCell) -> bool:
        """Whether a cell is not worth measuring under the latency."""
        rate = self._best.get(_like(cell))
        if self.latency_s is None or rate is None:
            return False
        return cell.figures.macs * cell.cell.execution.batch / rate > self.latency_s

    def better(self, best: StoredCell | None, cell: StoredCell) -> StoredCell | None:
        """The one of two that keeps more capacity within the latency; without a limit, the faster one."""
        if cell.latency_s is None or cell.latency_s > (self.latency_s or float("inf")):
            return best
        if best is None or best.latency_s is None:
            return cell
        if self.latency_s is None:
            return min(best, cell, key=lambda one: one.latency_s or 0.0)
        return max(best, cell, key=lambda one: (one.figures.capacity.product, -(one.latency_s or 0.0)))


def _like(cell: StoredCell) -> object:
    return cell.place, cell.cell.execution

"""What measured cells say of those that are not measured yet: which cannot keep to a latency, which are better."""

from dataclasses import dataclass, field

from mnfpn_cli.store.rows import StoredCell


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
